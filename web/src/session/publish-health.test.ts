import { expect, test } from "vitest";
import { HealthMonitor, type PublishSample } from "./publish-health";

const sampleAt = (seconds: number, change: Partial<PublishSample> = {}): PublishSample => ({
  bytes: seconds * 250_000,
  framesEncoded: seconds * 30,
  framesPerSecond: 30,
  keyFrames: 1,
  keyFrameRequests: 0,
  width: 1280,
  height: 720,
  rttMs: 20,
  lossRatio: 0,
  limit: "none",
  hasVideo: true,
  videoCodec: "H264",
  ...change,
});

function last(change: (seconds: number) => Partial<PublishSample>) {
  const monitor = new HealthMonitor(() => 30);
  let health = monitor.handleSample(sampleAt(0, change(0)), 0);
  for (let seconds = 1; seconds <= 12; seconds += 1) {
    health = monitor.handleSample(sampleAt(seconds, change(seconds)), seconds * 1_000);
  }
  return health;
}

test("rates are those of the last seconds and a healthy stream has no warning", () => {
  const health = last(() => ({}));
  expect(health.bitrateBps).toBeCloseTo(2_000_000);
  expect(health.framesPerSecond).toBeCloseTo(30);
  expect(health.warnings).toEqual([]);
});

test.each([
  ["an encoder that cannot keep up", "slow_encoder", (s: number) => ({ framesEncoded: s * 10 })],
  ["a thin uplink", "thin_uplink", () => ({ limit: "bandwidth" as const })],
  ["a source without frames", "no_frames", () => ({ framesEncoded: 0 })],
  ["loss on the way", "loss", () => ({ lossRatio: 0.08 })],
  ["a far edge", "far_edge", () => ({ rttMs: 400 })],
  ["ignored key-frame requests", "key_frames_unanswered", (s: number) => ({ keyFrameRequests: s })],
])("%s is named", (_, warning, change) => {
  expect(last(change).warnings).toEqual([warning]);
});

test("an answered key-frame request is no warning", () => {
  expect(last((s) => ({ keyFrameRequests: s, keyFrames: 1 + s })).warnings).toEqual([]);
});

test("the ramp after the start is no thin uplink", () => {
  expect(last((s) => ({ limit: s < 6 ? ("bandwidth" as const) : ("none" as const) })).warnings).toEqual([]);
  expect(last((s) => ({ limit: s < 6 ? ("none" as const) : ("bandwidth" as const) })).warnings).toEqual([]);
});
