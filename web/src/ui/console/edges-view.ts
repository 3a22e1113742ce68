/** The list of edges: what state each is in and what it carries. Troubled ones first. */
import type { EdgeStatus, FleetEdge } from "../../wire/console-feed";
import { h } from "../shared/dom";
import { formatRatio, formatThings } from "../shared/format";

const RANK: Readonly<Record<EdgeStatus, number>> = { down: 0, suspect: 1, up: 2 };
const TONE: Readonly<Record<EdgeStatus, string>> = { down: "bad", suspect: "warn", up: "good" };
export const STATUS_WORDS: Readonly<Record<EdgeStatus, string>> = { down: "down", suspect: "not heard from", up: "up" };

export class EdgesView {
  readonly #list: HTMLUListElement;
  #shown = "";

  constructor(list: HTMLUListElement) {
    this.#list = list;
  }

  show(edges: readonly FleetEdge[]): void {
    const sorted = sortEdges(edges);
    const lines = sorted.map((edge) => [edge.edge_id, edge.status, edgeText(edge), edge.slice_rejected?.detail ?? ""]);
    const key = JSON.stringify(lines);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#list.replaceChildren(
      ...(sorted.length === 0 ? [h("li", { class: "quiet" }, "No edge has joined this fleet yet.")] : sorted.map(line)),
    );
  }
}

/** Troubled edges first, then by name. */
export function sortEdges(edges: readonly FleetEdge[]): readonly FleetEdge[] {
  return [...edges].sort(
    (left, right) => RANK[left.status] - RANK[right.status] || left.edge_id.localeCompare(right.edge_id),
  );
}

export function edgeText(edge: FleetEdge): string {
  if (edge.status !== "up") return STATUS_WORDS[edge.status];
  const hosts = edge.hosts === 0 ? "" : `${formatThings(edge.hosts, "host")}, `;
  return `${hosts}${formatThings(edge.viewers, "viewer")}, CPU ${formatRatio(edge.cpu_ratio)}`;
}

function line(edge: FleetEdge): HTMLLIElement {
  const region = edge.region === "" || edge.region === edge.edge_id ? "" : edge.region;
  const item = h(
    "li",
    { class: "edge", "data-edge": edge.edge_id, "data-status": edge.status },
    h("span", { class: "dot", "data-tone": TONE[edge.status] }),
    h("b", {}, edge.edge_id),
    h("span", { class: "quiet" }, region),
    h("span", { class: "edge-load" }, edgeText(edge)),
  );
  const { slice_rejected: rejected } = edge;
  if (rejected != null) {
    item.append(h("span", { class: "edge-trouble" }, `It refused its routes: ${rejected.detail || rejected.reason}`));
  }
  return item;
}
