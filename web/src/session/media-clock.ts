/**
 * The publisher's clock at the frame on screen, from `estimatedPlayoutTimestamp` (webrtc-stats §RTCInboundRtpStreamStats),
 * which the browser derives from the sender reports that edges pass on untouched.
 */

/** Seconds between 1900 (NTP) and 1970 (unix), RFC 5905 §6, as milliseconds. */
const NTP_UNIX_OFFSET_MS = 2_208_988_800_000;
/** Any unix time in milliseconds before the year 2065 is below this, any NTP time since 1995 above. */
const NTP_FROM_MS = 3_000_000_000_000;
/** A step this large is another publisher's clock, not drift. */
const STEP_MS = 400;
/** Samples are noisy by a frame interval; a slow average keeps comments from dancing. */
const SMOOTHING = 0.1;

export class MediaClock {
  #offsetMs: number | null = null;

  /** `playoutMs` is the stats value; `nowMs` any monotonic clock in milliseconds, the same for every call. */
  handleSample(playoutMs: number | undefined, nowMs: number): void {
    if (playoutMs === undefined || !Number.isFinite(playoutMs) || playoutMs <= 0) return;
    const unixMs = playoutMs > NTP_FROM_MS ? playoutMs - NTP_UNIX_OFFSET_MS : playoutMs;
    const offsetMs = unixMs - nowMs;
    if (this.#offsetMs === null || Math.abs(offsetMs - this.#offsetMs) > STEP_MS) this.#offsetMs = offsetMs;
    else this.#offsetMs += SMOOTHING * (offsetMs - this.#offsetMs);
  }

  /** Media time in unix milliseconds of the frame on screen, or null before the first sender report. */
  at(nowMs: number): number | null {
    return this.#offsetMs === null ? null : Math.round(nowMs + this.#offsetMs);
  }

  reset(): void {
    this.#offsetMs = null;
  }
}
