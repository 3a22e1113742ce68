/** What a host should know about the stream going out. Pure: counters in, numbers and warnings out. */
export interface PublishSample {
  readonly bytes: number;
  readonly framesEncoded: number;
  readonly framesPerSecond: number;
  readonly keyFrames: number;
  readonly keyFrameRequests: number;
  readonly width: number;
  readonly height: number;
  readonly rttMs: number | null;
  readonly lossRatio: number | null;
  readonly limit: "none" | "cpu" | "bandwidth";
  readonly hasVideo: boolean;
  readonly videoCodec: string;
}

export type HealthWarning =
  | "key_frames_unanswered"
  | "loss"
  | "far_edge"
  | "slow_encoder"
  | "thin_uplink"
  | "no_frames";

export interface PublishHealth {
  readonly bitrateBps: number;
  readonly framesPerSecond: number;
  readonly keyFrames: number;
  readonly width: number;
  readonly height: number;
  readonly rttMs: number | null;
  readonly lossRatio: number | null;
  readonly videoCodec: string;
  readonly warnings: readonly HealthWarning[];
}

const SPAN_MS = 5_000;
/** Retransmission hides less than this from viewers. */
const LOSS_RATIO_MAX = 0.03;
/** An edge further away than this is not the nearest one. */
const RTT_MAX_MS = 250;
/** The browser starts low and needs some seconds to find the uplink's width; a limit before that says nothing. */
const LIMIT_SETTLED_MS = 10_000;
/** An encoder answers a request with its next frame; two seconds is far beyond that. */
const KEY_FRAME_ANSWER_MS = 2_000;

export class HealthMonitor {
  readonly #targetFramesPerSecond: () => number;
  readonly #samples: { atMs: number; sample: PublishSample }[] = [];
  #unansweredSinceMs: number | null = null;
  #limit: { readonly reason: PublishSample["limit"]; readonly sinceMs: number } = { reason: "none", sinceMs: 0 };

  /** The target is asked for each time: a host may change it on air. */
  constructor(targetFramesPerSecond: () => number) {
    this.#targetFramesPerSecond = targetFramesPerSecond;
  }

  handleSample(sample: PublishSample, nowMs: number): PublishHealth {
    const previous = this.#samples.at(-1)?.sample;
    this.#followRequests(previous, sample, nowMs);
    if (this.#limit.reason !== sample.limit) this.#limit = { reason: sample.limit, sinceMs: nowMs };
    this.#samples.push({ atMs: nowMs, sample });
    while (this.#samples.length > 2 && nowMs - (this.#samples[0]?.atMs ?? nowMs) > SPAN_MS) this.#samples.shift();
    const first = this.#samples[0];
    const spanMs = nowMs - (first?.atMs ?? nowMs);
    const perSecond = (key: "bytes" | "framesEncoded") =>
      first === undefined || spanMs <= 0 ? 0 : ((sample[key] - first.sample[key]) * 1_000) / spanMs;
    const framesPerSecond = perSecond("framesEncoded");
    return {
      bitrateBps: perSecond("bytes") * 8,
      framesPerSecond,
      keyFrames: sample.keyFrames,
      width: sample.width,
      height: sample.height,
      rttMs: sample.rttMs,
      lossRatio: sample.lossRatio,
      videoCodec: sample.videoCodec,
      warnings: this.#warnings(sample, framesPerSecond, spanMs, nowMs),
    };
  }

  #followRequests(previous: PublishSample | undefined, sample: PublishSample, nowMs: number): void {
    if (previous !== undefined && sample.keyFrames > previous.keyFrames) this.#unansweredSinceMs = null;
    else if (previous !== undefined && sample.keyFrameRequests > previous.keyFrameRequests) {
      this.#unansweredSinceMs ??= nowMs;
    }
  }

  #warnings(sample: PublishSample, framesPerSecond: number, spanMs: number, nowMs: number): HealthWarning[] {
    const warnings: HealthWarning[] = [];
    const settled = spanMs >= SPAN_MS * 0.8;
    const limit = nowMs - this.#limit.sinceMs >= LIMIT_SETTLED_MS ? this.#limit.reason : "none";
    if (sample.hasVideo && settled && framesPerSecond < 1) warnings.push("no_frames");
    else if (limit === "bandwidth") warnings.push("thin_uplink");
    else if (limit === "cpu" || (settled && framesPerSecond < this.#targetFramesPerSecond() * 0.6)) {
      if (sample.hasVideo) warnings.push("slow_encoder");
    }
    if (this.#unansweredSinceMs !== null && nowMs - this.#unansweredSinceMs > KEY_FRAME_ANSWER_MS) {
      warnings.push("key_frames_unanswered");
    }
    if ((sample.lossRatio ?? 0) > LOSS_RATIO_MAX) warnings.push("loss");
    if ((sample.rttMs ?? 0) > RTT_MAX_MS) warnings.push("far_edge");
    return warnings;
  }
}
