/** The edges a page may use, nearest first, and which of them failed lately. */
import type { EdgeAddress } from "../wire/messages";

/** An edge that failed is passed over for this long while another one is left. */
const FAILED_S = 30;

export class EdgeRing {
  #edges: EdgeAddress[];
  #current: EdgeAddress;
  readonly #failedAt = new Map<string, number>();

  constructor(edges: readonly EdgeAddress[]) {
    const [first] = edges;
    if (first === undefined) throw new Error("a player needs at least one edge");
    this.#edges = [...edges];
    this.#current = first;
  }

  get current(): EdgeAddress {
    return this.#current;
  }

  /** Takes a newer list from an edge. An empty list changes nothing; the current edge stays current. */
  apply(edges: readonly EdgeAddress[]): void {
    if (edges.length === 0) return;
    this.#edges = [...edges];
    const same = edges.find((edge) => edge.edge_id === this.#current.edge_id);
    if (same === undefined) this.#edges.unshift(this.#current);
    else this.#current = same;
  }

  /** Makes an edge current that the owner chose for itself. */
  goTo(edge: EdgeAddress): void {
    const known = this.#edges.some(({ edge_id }) => edge_id === edge.edge_id);
    if (!known) this.#edges.unshift(edge);
    this.#current = edge;
  }

  /** Marks the current edge as failed and moves on to the first of `next`. */
  moveOn(now: number): EdgeAddress {
    this.#failedAt.set(this.#current.edge_id, now);
    this.#current = this.next(now)[0] ?? this.#current;
    return this.#current;
  }

  /** What would follow the current edge: those that did not fail lately, round the ring; then the one that failed first. */
  next(now: number): readonly EdgeAddress[] {
    const from = this.#edges.findIndex((edge) => edge.edge_id === this.#current.edge_id);
    const others = [...this.#edges.slice(from + 1), ...this.#edges.slice(0, from)];
    const failedAt = (edge: EdgeAddress) => this.#failedAt.get(edge.edge_id) ?? Number.NEGATIVE_INFINITY;
    const failedLately = (edge: EdgeAddress) => now - failedAt(edge) <= FAILED_S;
    const failed = others.filter(failedLately).sort((left, right) => failedAt(left) - failedAt(right));
    return [...others.filter((edge) => !failedLately(edge)), ...failed];
  }

  /** Whether every edge failed within the last moments: time to wait before the next round. */
  exhausted(now: number): boolean {
    return this.#edges.every((edge) => now - (this.#failedAt.get(edge.edge_id) ?? Number.NEGATIVE_INFINITY) < FAILED_S);
  }

  markGood(): void {
    this.#failedAt.delete(this.#current.edge_id);
  }
}
