/**
 * What this page has of the room's log: shows each comment once and notices holes. Pure.
 *
 * A place is (epoch, offset). Within an epoch the home edge numbers from 1 without holes, so a missing number is a
 * comment that has not come. Epoch 0 is an edge alone; its places mean nothing elsewhere and are not followed.
 */
import type { RoomEntry } from "../wire/messages";

export interface LogPlace {
  readonly epoch: number;
  readonly offset: number;
}

/** Comments remembered to show a repeated one once: four times what an edge keeps. */
const SEEN_MAX = 1_024;
/** Edges repair holes among themselves within a second or two. */
const HOLE_PATIENCE_MS = 4_000;

export class RoomLog {
  readonly #ids = new BoundedSet(SEEN_MAX);
  readonly #places = new BoundedSet(SEEN_MAX);
  readonly #ahead = new Set<number>();
  #epoch = 0;
  /** Everything of the epoch up to here has come, or was before this page. */
  #complete = 0;
  #holeSinceMs: number | null = null;

  /** The place to go on from after a reconnect: what came beyond a hole is asked for again, and dropped as known. */
  get last(): LogPlace | null {
    return this.#epoch === 0 && this.#complete === 0 ? null : { epoch: this.#epoch, offset: this.#complete };
  }

  /** Those of the entries that are new here. */
  handleEntries(entries: readonly RoomEntry[], nowMs: number): readonly RoomEntry[] {
    const newest = entries.reduce((epoch, entry) => Math.max(epoch, entry.epoch), this.#epoch);
    if (newest > this.#epoch) this.#begin(newest, entries);
    const fresh = entries.filter((entry) => this.#isFresh(entry));
    for (const { epoch, offset } of fresh) {
      if (epoch !== this.#epoch) continue;
      if (epoch === 0) this.#complete = Math.max(this.#complete, offset);
      else if (offset > this.#complete) this.#ahead.add(offset);
    }
    this.#advance();
    if (this.#ahead.size === 0) this.#holeSinceMs = null;
    else this.#holeSinceMs ??= nowMs;
    return fresh;
  }

  /** How many comments will not come any more: their hole stayed open for too long. */
  pollMissed(nowMs: number): number {
    if (this.#holeSinceMs === null || nowMs - this.#holeSinceMs < HOLE_PATIENCE_MS) return 0;
    const next = Math.min(...this.#ahead);
    const missed = next - this.#complete - 1;
    this.#complete = next - 1;
    this.#advance();
    this.#holeSinceMs = this.#ahead.size === 0 ? null : nowMs;
    return missed;
  }

  #begin(epoch: number, entries: readonly RoomEntry[]): void {
    this.#epoch = epoch;
    this.#ahead.clear();
    this.#holeSinceMs = null;
    const offsets = entries.filter((entry) => entry.epoch === epoch).map((entry) => entry.offset);
    this.#complete = Math.min(...offsets) - 1;
  }

  #isFresh({ epoch, offset, person, id }: RoomEntry): boolean {
    const idIsNew = this.#ids.add(`${person}/${id}`);
    const placeIsNew = epoch === 0 || this.#places.add(`${epoch}/${offset}`);
    return idIsNew && placeIsNew;
  }

  #advance(): void {
    while (this.#ahead.delete(this.#complete + 1)) this.#complete += 1;
  }
}

class BoundedSet {
  readonly #values = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** False when the value is in it already. At the bound the oldest leaves. */
  add(value: string): boolean {
    if (this.#values.has(value)) return false;
    this.#values.add(value);
    if (this.#values.size > this.#max) {
      const [oldest] = this.#values;
      if (oldest !== undefined) this.#values.delete(oldest);
    }
    return true;
  }
}
