/**
 * Tells a publisher whether it lost its edge or its room. Pure.
 *
 * Every publication of a room has an incarnation, a number that only grows. The edge names ours in its answer, and the
 * room announces the one it shows; a higher one is another host's, and coming back would be a fight. An edge that does
 * not name ours leaves a guess: what the room announces around the moment we go live is our own.
 */

/** Source announcements reach the page's socket within a batch; three seconds allow for a far home edge. */
const OWN_S = 3;
/** Viewers switch at the other host's first key frame; leaving sooner would cost them frames. */
const HANDOVER_S = 1;

export class Takeover {
  #newest = 0;
  #own = 0;
  #known = false;
  #liveSince = Number.POSITIVE_INFINITY;
  #replacedSince = Number.POSITIVE_INFINITY;

  /** `own` is the incarnation that the edge gave this session, if it said. */
  handleLive(now: number, own: number | null): void {
    this.#liveSince = now;
    this.#known = own !== null;
    this.#own = own ?? this.#newest;
    this.#replacedSince = this.#newest > this.#own ? now : Number.POSITIVE_INFINITY;
  }

  handleIncarnation(incarnation: number, now: number): void {
    this.#newest = Math.max(this.#newest, incarnation);
    if (!this.#known && now >= this.#liveSince && now - this.#liveSince < OWN_S) this.#own = this.#newest;
    if (now >= this.#liveSince && this.#newest > this.#own) this.#replacedSince = Math.min(this.#replacedSince, now);
  }

  /** Whether another host has the room although this session still stands. */
  isReplaced(now: number): boolean {
    return this.#known && now - this.#replacedSince >= HANDOVER_S;
  }

  /** The session ended; until the next one is live no announcement is a successor's. */
  handleEnd(): "replaced" | "edge_lost" {
    const replaced = Number.isFinite(this.#liveSince) && this.#newest > this.#own;
    this.#liveSince = Number.POSITIVE_INFINITY;
    this.#replacedSince = Number.POSITIVE_INFINITY;
    return replaced ? "replaced" : "edge_lost";
  }
}
