import { expect, test } from "vitest";
import type { PublisherState } from "../../session/publisher";
import { describeAir, isOthers } from "./air";

const edge = { edge_id: "sg", url: "http://sg" };
const view = (state: PublisherState, change: Partial<Parameters<typeof describeAir>[0]> = {}) =>
  describeAir({ state, hasSource: true, othersOnAir: false, liveForS: 0, ...change });

test("without a source there is nothing to go live with", () => {
  expect(view({ name: "stopped" }, { hasSource: false })).toMatchObject({ action: "go", enabled: false });
  expect(view({ name: "stopped" })).toMatchObject({ action: "go", enabled: true, onAir: false });
});

test("a host is warned before taking a room over", () => {
  const warned = view({ name: "stopped" }, { othersOnAir: true });
  expect(warned).toMatchObject({ action: "take_over", label: "Take over" });
  expect(warned.note).toMatch(/replaces them/);
  expect(view({ name: "stopped" }, { othersOnAir: true, hasSource: false }).note).toMatch(/^Choose a source first/);
});

test("every way of being on air can be stopped", () => {
  const states: readonly PublisherState[] = [
    { name: "starting" },
    { name: "live", edge },
    { name: "reconnecting", edge },
    { name: "unreachable", retryInMs: 500 },
  ];
  for (const state of states) expect(view(state)).toMatchObject({ action: "stop", enabled: true, onAir: true });
});

test("who was replaced is off air and may take the room back knowingly", () => {
  const replaced = view({ name: "replaced" }, { othersOnAir: true });
  expect(replaced).toMatchObject({ action: "take_over", onAir: false });
  expect(replaced.note).toMatch(/off air/);
});

test("time on air and the edge are shown", () => {
  expect(view({ name: "live", edge }, { liveForS: 134 })).toMatchObject({
    note: "You are live. 2:14",
    edge: "Entering at sg",
  });
});

test("the echo of one's own stream is nobody else's", () => {
  expect(isOthers(true, 100, 100)).toBe(false);
  expect(isOthers(true, 101, 100)).toBe(true);
  expect(isOthers(true, 0, null)).toBe(true);
  expect(isOthers(false, 101, null)).toBe(false);
});
