/** Rates of the last seconds from counters since the beginning. Pure. */
import type { ViewStats } from "./view-session";

export interface ViewRates {
  /** Share of packets lost on the way from the edge in the last seconds, 0–1. */
  readonly lossRatio: number;
  readonly bitrateBps: number;
  /** Mean time a frame spent in the jitter buffer in the last seconds. */
  readonly bufferMs: number | null;
}

type Counters = Pick<ViewStats, "packets" | "packetsLost" | "bytes" | "jitterBufferS" | "jitterBufferFrames">;

const SPAN_MS = 4_000;

export class StatsWindow {
  readonly #samples: { readonly atMs: number; readonly stats: Counters }[] = [];

  push(atMs: number, stats: Counters): void {
    this.#samples.push({ atMs, stats });
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? atMs) > SPAN_MS) this.#samples.shift();
  }

  rates(): ViewRates {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) {
      return { lossRatio: 0, bitrateBps: 0, bufferMs: null };
    }
    // Late packets that were counted as lost make the counter go back (RFC 3550 §6.4.1).
    const lost = Math.max(0, last.stats.packetsLost - first.stats.packetsLost);
    const received = last.stats.packets - first.stats.packets;
    const frames = last.stats.jitterBufferFrames - first.stats.jitterBufferFrames;
    return {
      lossRatio: lost + received > 0 ? lost / (lost + received) : 0,
      bitrateBps: ((last.stats.bytes - first.stats.bytes) * 8_000) / (last.atMs - first.atMs),
      bufferMs: frames > 0 ? ((last.stats.jitterBufferS - first.stats.jitterBufferS) / frames) * 1_000 : null,
    };
  }
}
