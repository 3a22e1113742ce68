import { expect, test } from "vitest";
import type { PlayerState, PlayerStats } from "../../session/player-types";
import { describe as describeStatus } from "./status";

const edge = { edge_id: "fra", url: "http://fra" };
const stats = (change: Partial<PlayerStats>) =>
  ({ edge, behindMs: 240, rttMs: 12, lossRatio: 0, ...change }) as PlayerStats;

test.each([
  [{ name: "joining" }, "idle"],
  [{ name: "waiting", edge }, "idle"],
  [{ name: "connecting", edge }, "warn"],
  [{ name: "moving", edge, reason: "edge_gone" }, "warn"],
  [{ name: "unreachable", retryInMs: 500 }, "bad"],
  [{ name: "refused", reason: "token_missing", detail: "" }, "bad"],
] as const satisfies readonly (readonly [PlayerState, string])[])("%j is %s", (state, tone) => {
  const line = describeStatus(state, null);
  expect(line.tone).toBe(tone);
  expect(line.text).not.toBe("");
});

test("the delay shown belongs to the edge shown, not to the one that was left", () => {
  const playing = { name: "playing", edge } as const;
  expect(describeStatus(playing, stats({})).text).toBe("fra · 240 ms");
  expect(describeStatus(playing, stats({ behindMs: null })).text).toBe("fra · 12 ms");
  expect(describeStatus(playing, stats({ edge: { edge_id: "sg", url: "" } })).text).toBe("fra");
});

test("loss on the way from the edge is a warning", () => {
  expect(describeStatus({ name: "playing", edge }, stats({ lossRatio: 0.08 })).tone).toBe("warn");
});
