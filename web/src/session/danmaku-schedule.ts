/**
 * Holds each comment until the frame it was written on is on screen here. A viewer far from the host sees that frame
 * later than the writer did, and the comment may overtake it: WebSockets have no jitter buffer.
 */
import type { RoomEntry } from "../wire/messages";

/** No route is slower than this; a comment further ahead has a clock we cannot trust and is shown at once. */
const HOLD_MAX_MS = 3_000;
/** More than a screen can show. At the bound the oldest is shown early rather than lost. */
const WAITING_MAX = 200;

export class DanmakuSchedule {
  readonly #waiting: RoomEntry[] = [];

  /** Entries to show now; the others wait for `handleTime`. */
  handleEntry(entry: RoomEntry, mediaTimeMs: number | null): readonly RoomEntry[] {
    const aheadMs = mediaTimeMs === null || entry.media_time_ms === 0 ? 0 : entry.media_time_ms - mediaTimeMs;
    if (aheadMs <= 0 || aheadMs > HOLD_MAX_MS) return [entry];
    const after = this.#waiting.findIndex((other) => other.media_time_ms > entry.media_time_ms);
    if (after === -1) this.#waiting.push(entry);
    else this.#waiting.splice(after, 0, entry);
    return this.#waiting.length > WAITING_MAX ? this.#waiting.splice(0, 1) : [];
  }

  /** Everything whose frame has come. Without a clock nothing is held back. */
  handleTime(mediaTimeMs: number | null): readonly RoomEntry[] {
    if (mediaTimeMs === null) return this.#waiting.splice(0);
    let due = 0;
    while (due < this.#waiting.length) {
      const aheadMs = (this.#waiting[due]?.media_time_ms ?? 0) - mediaTimeMs;
      if (aheadMs > 0 && aheadMs <= HOLD_MAX_MS) break;
      due += 1;
    }
    return this.#waiting.splice(0, due);
  }
}
