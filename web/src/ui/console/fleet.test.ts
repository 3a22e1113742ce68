import { expect, test } from "vitest";
import type { FleetLink, FleetRoute, Snapshot } from "../../wire/console-feed";
import { hops, linkPairs, linkTone, linkToTry, sortByBadness, withoutDeadRoutes } from "./fleet";

const link = (from_edge: string, to_edge: string, change: Partial<FleetLink> = {}): FleetLink => ({
  from_edge,
  to_edge,
  rtt_ms: 160,
  one_way_ms: 80,
  p95_ms: 170,
  loss_ratio: 0.001,
  jitter_ms: 2,
  utilisation: 0.1,
  cost_ms: 90,
  measured_by: "trunk",
  age_ms: 400,
  ...change,
});
const route = (active_path: readonly string[], reason = "direct 160 ms"): FleetRoute => ({
  edge_id: "fra",
  primary: [...active_path].reverse(),
  backup: ["fra", "iad", "sg"],
  active_path,
  phase: "steady",
  reason,
  cost_ms: 90,
  delay_ms: 80,
});
const snapshot = (links: readonly FleetLink[], routes: readonly FleetRoute[] = []): Snapshot => ({
  leader_epoch: 1,
  version: 1,
  unix_ms: 0,
  edges: [],
  links,
  streams: [{ room: "demo", incarnation: 1, source_edge: "sg", codecs: [], viewers: 0, routes }],
  demo: null,
});

test("two directions make one pair that shows the worse of both", () => {
  const [pair, ...rest] = linkPairs(
    snapshot([link("sg", "fra"), link("fra", "sg", { loss_ratio: 0.03, rtt_ms: 164 })]),
  );
  expect(rest).toEqual([]);
  expect(pair).toMatchObject({ a: "sg", b: "fra", rttMs: 164, lossRatio: 0.03, tone: "warn" });
  expect(pair?.there?.loss_ratio).toBe(0.001);
});

test("a direction without a measurement does not hide the other", () => {
  const [pair] = linkPairs(snapshot([link("sg", "fra", { rtt_ms: null, loss_ratio: null }), link("fra", "sg")]));
  expect(pair).toMatchObject({ rttMs: 160, tone: "good" });
});

test.each([
  [160, 0.001, 400, "good"],
  [160, 0.02, 400, "warn"],
  [300, 0, 400, "warn"],
  [160, 0.08, 400, "bad"],
  [560, 0, 400, "bad"],
  [160, 0, 9_000, "bad"],
  [null, null, null, "unknown"],
] as const)("RTT %s ms, loss %s, age %s ms is %s", (rttMs, lossRatio, ageMs, tone) => {
  expect(linkTone(rttMs, lossRatio, ageMs)).toBe(tone);
});

test("a path's hops run with the packets", () => {
  expect(hops(["sg", "iad", "fra"])).toEqual([
    ["sg", "iad"],
    ["iad", "fra"],
  ]);
  expect(hops(["sg"])).toEqual([]);
});

test("nothing flows into an edge that is down, and its links are bad", () => {
  const edge = { region: "", latitude: 0, longitude: 0, http_url: "", hosts: 0, viewers: 0, cpu_ratio: 0 };
  const down = {
    ...snapshot([], [route(["sg", "fra"])]),
    edges: [{ ...edge, edge_id: "fra", status: "down" as const }],
  };
  expect(withoutDeadRoutes(down).streams[0]?.routes).toEqual([]);
  const [pair] = linkPairs(
    snapshot([link("sg", "fra", { usable: false, cost_ms: 0 }), link("fra", "sg", { usable: false })]),
  );
  expect(pair).toMatchObject({ tone: "bad", costMs: null });
});

test("links in trouble stand first, and small changes of cost do not shuffle the rest", () => {
  const pairs = linkPairs(
    snapshot([
      link("fra", "iad", { cost_ms: 40 }),
      link("fra", "sg", { loss_ratio: 0.1 }),
      link("iad", "sg", { loss_ratio: 0.03 }),
      link("bom", "sg", { rtt_ms: null, loss_ratio: null }),
      link("dxb", "sg", { cost_ms: 52 }),
    ]),
  );
  expect(sortByBadness(pairs).map(({ key }) => key)).toEqual(["fra|sg", "iad|sg", "bom|sg", "dxb|sg", "fra|iad"]);
  const names = (first: number, second: number) =>
    sortByBadness(linkPairs(snapshot([link("a", "b", { cost_ms: first }), link("c", "d", { cost_ms: second })]))).map(
      ({ key }) => key,
    );
  expect(names(90, 95)).toEqual(names(95, 90));
});

const demo = (a: string, b: string, loss_ratio = 0.002) => ({
  a,
  b,
  loss_ratio,
  delay_ms: 80,
  blackout: false,
  own_loss_ratio: 0.002,
  own_delay_ms: 80,
});

test("the link to try is one that people watch through", () => {
  const routes = [
    { ...route(["sg", "fra"]), delay_ms: 80, viewers: 1 },
    { ...route(["sg", "iad"]), edge_id: "iad", delay_ms: 115, viewers: 0 },
  ];
  const fleet = { ...snapshot([], routes), demo: { links: [demo("iad", "sg"), demo("fra", "sg")] } };
  expect(linkToTry(linkPairs(fleet), fleet.streams[0] ?? null)?.key).toBe("fra|sg");
});

test("the link to try is the direct one of the slowest route, or the one that is bad already", () => {
  const fleet = (worse: number) => ({
    ...snapshot(
      [link("sg", "fra"), link("fra", "iad")],
      [
        { ...route(["sg", "fra"]), delay_ms: 80 },
        { ...route(["sg", "fra", "iad"]), edge_id: "iad", delay_ms: 125 },
      ],
    ),
    demo: { links: [demo("fra", "iad", worse), demo("fra", "sg")] },
  });
  const pick = (worse: number) => linkToTry(linkPairs(fleet(worse)), fleet(worse).streams[0] ?? null)?.key;
  expect(pick(0.002)).toBe("fra|sg");
  expect(pick(0.1)).toBe("fra|iad");
  expect(linkToTry(linkPairs(snapshot([link("sg", "fra")])), null)).toBeNull();
});
