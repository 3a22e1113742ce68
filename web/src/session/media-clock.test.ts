import { expect, test } from "vitest";
import { MediaClock } from "./media-clock";

const UNIX_MS = 1_795_000_000_000;
const NTP_OFFSET_MS = 2_208_988_800_000;

test("there is no media time before the first sender report", () => {
  const clock = new MediaClock();
  expect(clock.at(1_000)).toBeNull();
  clock.handleSample(undefined, 1_000);
  clock.handleSample(0, 1_000);
  expect(clock.at(1_000)).toBeNull();
});

test.each([
  ["unix", UNIX_MS],
  ["NTP", UNIX_MS + NTP_OFFSET_MS],
])("a %s timestamp runs on between samples", (_, playoutMs) => {
  const clock = new MediaClock();
  clock.handleSample(playoutMs, 5_000);
  expect(clock.at(5_250)).toBe(UNIX_MS + 250);
});

test("noise of a frame is smoothed", () => {
  const clock = new MediaClock();
  clock.handleSample(UNIX_MS, 0);
  clock.handleSample(UNIX_MS + 1_033, 1_000);
  expect((clock.at(1_000) ?? 0) - UNIX_MS).toBeLessThan(1_006);
});

test("another host's clock is taken over at once", () => {
  const clock = new MediaClock();
  clock.handleSample(UNIX_MS, 0);
  clock.handleSample(UNIX_MS + 60_000, 1_000);
  expect(clock.at(1_000)).toBe(UNIX_MS + 60_000);
});
