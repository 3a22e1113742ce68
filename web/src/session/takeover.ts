/**
 * Tells a publisher whether it lost its edge or its room. Pure.
 *
 * The room announces its source's incarnation, a number that only grows. The one it names around the moment this
 * publisher goes live is its own; a higher one later is another host's, and coming back would be a fight.
 */

/** Source announcements reach the page's socket within a batch; three seconds allow for a far home edge. */
const OWN_S = 3;

export class Takeover {
  #newest = 0;
  #own = 0;
  #liveSince = Number.POSITIVE_INFINITY;

  handleLive(now: number): void {
    this.#liveSince = now;
    this.#own = this.#newest;
  }

  handleIncarnation(incarnation: number, now: number): void {
    this.#newest = Math.max(this.#newest, incarnation);
    if (now >= this.#liveSince && now - this.#liveSince < OWN_S) this.#own = this.#newest;
  }

  /** The session ended; until the next one is live no announcement is a successor's. */
  handleEnd(): "replaced" | "edge_lost" {
    const replaced = Number.isFinite(this.#liveSince) && this.#newest > this.#own;
    this.#liveSince = Number.POSITIVE_INFINITY;
    return replaced ? "replaced" : "edge_lost";
  }
}
