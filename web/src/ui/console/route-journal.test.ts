import { expect, test } from "vitest";
import type { FleetRoute, Snapshot } from "../../wire/console-feed";
import { RouteJournal } from "./route-journal";

const DIRECT = ["sg", "fra"];
const RELAYED = ["sg", "iad", "fra"];
const WHY = "direct sg–fra +400 ms: via iad 320 ms";

const route = (change: Partial<FleetRoute> = {}): FleetRoute => ({
  edge_id: "fra",
  primary: [...DIRECT].reverse(),
  backup: [...RELAYED].reverse(),
  active_path: DIRECT,
  phase: "steady",
  reason: "direct 160 ms",
  cost_ms: 90,
  delay_ms: 80,
  ...change,
});
const decided = { primary: [...RELAYED].reverse(), backup: [...DIRECT].reverse(), reason: WHY };
const snapshot = (...routes: readonly FleetRoute[]): Snapshot => ({
  leader_epoch: 1,
  version: 1,
  unix_ms: 0,
  edges: [],
  links: [],
  streams: [{ room: "demo", incarnation: 1, source_edge: "sg", codecs: [], viewers: 0, routes }],
  demo: null,
});

/** Shows the routes one after the other; the changes of the last one. */
function lastChanges(...routes: readonly FleetRoute[]) {
  const journal = new RouteJournal();
  return routes.map((shown) => journal.note(snapshot(shown))).at(-1) ?? [];
}

test("a moved route is a change with its reason; a new one and an unchanged one are none", () => {
  expect(lastChanges(route())).toEqual([]);
  expect(lastChanges(route(), route())).toEqual([]);
  const journal = new RouteJournal();
  journal.note(snapshot());
  expect(journal.note(snapshot(route()))).toEqual([]);
  expect(lastChanges(route(), route({ ...decided, active_path: RELAYED }))).toEqual([
    { room: "demo", edge: "fra", from: DIRECT, to: RELAYED, reason: WHY },
  ]);
});

test("a decision that the edge follows a snapshot later keeps its reason", () => {
  const followed = [route(), route(decided), route({ ...decided, active_path: RELAYED })];
  expect(lastChanges(...followed)).toMatchObject([{ to: RELAYED, reason: WHY }]);
  const back = lastChanges(...followed, route({ active_path: RELAYED }), route());
  expect(back).toMatchObject([{ to: DIRECT, reason: "direct 160 ms" }]);
});

test("an edge that moved by itself is told apart from control's decision", () => {
  const failedOver = route({ active_path: RELAYED, phase: "committed" });
  expect(lastChanges(route(), failedOver)[0]?.reason).toBe("the edge went over to its backup by itself");
  expect(lastChanges(route(), failedOver, route())[0]?.reason).toBe("the edge went back to its first path");
});
