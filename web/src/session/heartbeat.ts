/**
 * Keeps a socket known to be alive on both sides. Pure. An edge closes a socket from which nothing came for 90 s, and
 * a network that vanished (a phone in a lift) closes nothing at all: only a missing pong shows it.
 */

/** Edges expect a ping this often (`rooms.idle_timeout_s`). */
const PING_EVERY_MS = 20_000;
/** A pong takes one round trip; a hidden page looks once a second. */
const PONG_MAX_MS = 8_000;

export class Heartbeat {
  #pingedAtMs = 0;
  #waiting = false;

  handleOpen(nowMs: number): void {
    this.#pingedAtMs = nowMs;
    this.#waiting = false;
  }

  /** Anything that came shows that the edge is there. */
  handleHeard(): void {
    this.#waiting = false;
  }

  poll(nowMs: number): "wait" | "ping" | "dead" {
    const sinceMs = nowMs - this.#pingedAtMs;
    if (this.#waiting) return sinceMs > PONG_MAX_MS ? "dead" : "wait";
    if (sinceMs < PING_EVERY_MS) return "wait";
    this.#pingedAtMs = nowMs;
    this.#waiting = true;
    return "ping";
  }
}
