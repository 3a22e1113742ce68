/**
 * Comments of ours that the room has not answered yet. Pure. Each is sent again with the same id after a reconnect, so
 * that the room shows it once, and is given up when the moment it belongs to has passed.
 */
export interface OwnComment {
  readonly id: string;
  readonly text: string;
  readonly color: string | undefined;
  readonly mediaTimeMs: number | null;
  readonly saidAtMs: number;
}

/** A comment that got no place for this long belongs to a moment that has passed. */
export const UNANSWERED_MAX_MS = 10_000;
/** More than the room's rate limit lets anybody say in that time; at the bound the oldest is given up. */
const UNANSWERED_MAX = 16;
/** Refusals that say nothing about the comment: the same one may be taken a moment later. */
const PASSING: ReadonlySet<string> = new Set(["unreachable", "room_busy"]);

interface Waiting {
  readonly comment: OwnComment;
  /** When it is sent again on the same socket; null while an answer is due. */
  againAtMs: number | null;
}

export class Outbox {
  readonly #waiting = new Map<string, Waiting>();

  /** Takes a comment that is being sent now. */
  add(comment: OwnComment): void {
    this.#waiting.set(comment.id, { comment, againAtMs: null });
  }

  /** It has its place. */
  handleAccepted(id: string): void {
    this.#waiting.delete(id);
  }

  /** The comment, when the refusal is final; null when it is sent again, or was given up before. */
  handleRejected(id: string, reason: string, retryAfterMs: number | undefined, nowMs: number): OwnComment | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    if (PASSING.has(reason) && retryAfterMs !== undefined && this.#lastsUntil(waiting) > nowMs + retryAfterMs) {
      waiting.againAtMs = nowMs + retryAfterMs;
      return null;
    }
    this.#waiting.delete(id);
    return waiting.comment;
  }

  /** A new socket: whatever the old one carried may be lost. */
  handleOpen(): readonly OwnComment[] {
    for (const waiting of this.#waiting.values()) waiting.againAtMs = null;
    return [...this.#waiting.values()].map(({ comment }) => comment);
  }

  /** What is to be sent again now. */
  pollDue(nowMs: number): readonly OwnComment[] {
    const due = [...this.#waiting.values()].filter(({ againAtMs }) => againAtMs !== null && againAtMs <= nowMs);
    for (const waiting of due) waiting.againAtMs = null;
    return due.map(({ comment }) => comment);
  }

  /** What is given up: too old, or pushed out at the bound. */
  pollGivenUp(nowMs: number): readonly OwnComment[] {
    const old = [...this.#waiting.values()].filter((waiting) => this.#lastsUntil(waiting) <= nowMs);
    const over = [...this.#waiting.values()].slice(0, Math.max(0, this.#waiting.size - UNANSWERED_MAX));
    const gone = new Set([...old, ...over].map(({ comment }) => comment));
    for (const { id } of gone) this.#waiting.delete(id);
    return [...gone];
  }

  #lastsUntil({ comment }: Waiting): number {
    return comment.saidAtMs + UNANSWERED_MAX_MS;
  }
}
