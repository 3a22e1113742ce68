import { expect, test } from "vitest";
import { StatsWindow } from "./view-rates";

const at = (seconds: number, change: Partial<Parameters<StatsWindow["push"]>[1]> = {}) => ({
  packets: seconds * 100,
  packetsLost: 0,
  bytes: seconds * 125_000,
  jitterBufferS: seconds * 3,
  jitterBufferFrames: seconds * 30,
  ...change,
});

test("rates are those of the last four seconds, not of the whole session", () => {
  const window = new StatsWindow();
  for (let seconds = 0; seconds <= 20; seconds += 1) {
    window.push(seconds * 1_000, at(seconds, { packetsLost: seconds > 16 ? (seconds - 16) * 25 : 0 }));
  }
  expect(window.rates()).toEqual({ lossRatio: 0.2, bitrateBps: 1_000_000, bufferMs: 100 });
});

test("one sample has no rates", () => {
  const window = new StatsWindow();
  window.push(0, at(5));
  expect(window.rates()).toEqual({ lossRatio: 0, bitrateBps: 0, bufferMs: null });
});

test("packets that came late after all are no negative loss", () => {
  const window = new StatsWindow();
  window.push(0, at(0, { packetsLost: 10 }));
  window.push(1_000, at(1, { packetsLost: 4 }));
  expect(window.rates().lossRatio).toBe(0);
});
