/** Whether the person sees, or where there is only sound hears, something new. Pure. */

/** With a picture, its first packets come with the first sound; after this long without any there is none. */
const SOUND_ONLY_AFTER_MS = 3_000;

export class Progress {
  #soundSinceMs: number | null = null;
  #count = 0;
  /** When something new was last seen or heard. */
  grewAtMs = Number.NEGATIVE_INFINITY;

  /** Frames decoded; packets received, when the host sends nothing but sound. */
  handleSample(
    stats: { readonly packets: number; readonly videoPackets: number; readonly framesDecoded: number },
    nowMs: number,
  ): number {
    if (stats.videoPackets > 0 || stats.packets === 0) this.#soundSinceMs = null;
    else this.#soundSinceMs ??= nowMs;
    const soundOnly = this.#soundSinceMs !== null && nowMs - this.#soundSinceMs >= SOUND_ONLY_AFTER_MS;
    const count = soundOnly ? stats.packets : stats.framesDecoded;
    if (count > this.#count) this.grewAtMs = nowMs;
    this.#count = count;
    return count;
  }
}
