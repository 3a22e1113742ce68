/** The snapshot seen as the console shows it: pairs of links, their tone, and what changed since the last one. Pure. */
import type { DemoLink, FleetLink, FleetRoute, FleetStream, Snapshot } from "../../wire/console-feed";

export type Tone = "good" | "warn" | "bad" | "unknown";

/** Both directions between two edges. */
export interface LinkPair {
  readonly key: string;
  readonly a: string;
  readonly b: string;
  readonly there: FleetLink | null;
  readonly back: FleetLink | null;
  readonly rttMs: number | null;
  readonly p95Ms: number | null;
  readonly lossRatio: number | null;
  readonly jitterMs: number | null;
  readonly utilisation: number | null;
  readonly costMs: number | null;
  readonly measuredBy: string;
  readonly tone: Tone;
  readonly demo: DemoLink | null;
}

/** The edges' own alarm level: a report leaves at once above 2 % loss. */
const LOSS_WARN = 0.02;
const LOSS_BAD = 0.05;
/** Where conversation across the link becomes noticeably slow, and where it stops being one. */
const RTT_WARN_MS = 280;
const RTT_BAD_MS = 450;
/** Reports come each second; three missed ones make an edge suspect. */
const STALE_MS = 6_000;

export function pairKey(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}

export function linkPairs(snapshot: Snapshot): readonly LinkPair[] {
  const directions = new Map<string, FleetLink>();
  const pairs = new Map<string, { a: string; b: string }>();
  for (const link of snapshot.links) {
    directions.set(`${link.from_edge}>${link.to_edge}`, link);
    const key = pairKey(link.from_edge, link.to_edge);
    if (!pairs.has(key)) pairs.set(key, { a: link.from_edge, b: link.to_edge });
  }
  const demo = new Map((snapshot.demo?.links ?? []).map((link) => [pairKey(link.a, link.b), link]));
  for (const link of snapshot.demo?.links ?? []) {
    const key = pairKey(link.a, link.b);
    if (!pairs.has(key)) pairs.set(key, { a: link.a, b: link.b });
  }
  return [...pairs].map(([key, { a, b }]) => {
    const there = directions.get(`${a}>${b}`) ?? null;
    const back = directions.get(`${b}>${a}`) ?? null;
    return makePair(key, a, b, there, back, demo.get(key) ?? null);
  });
}

function makePair(
  key: string,
  a: string,
  b: string,
  there: FleetLink | null,
  back: FleetLink | null,
  demo: DemoLink | null,
): LinkPair {
  const worst = (field: (link: FleetLink) => number | null): number | null => {
    const values = [there, back]
      .flatMap((link) => (link === null ? [] : [field(link)]))
      .filter((value) => value !== null);
    return values.length === 0 ? null : Math.max(...values);
  };
  const pair = {
    key,
    a,
    b,
    there,
    back,
    rttMs: worst((link) => link.rtt_ms),
    p95Ms: worst((link) => link.p95_ms),
    lossRatio: worst((link) => link.loss_ratio),
    jitterMs: worst((link) => link.jitter_ms),
    utilisation: worst((link) => link.utilisation),
    costMs: worst((link) => (link.usable === false ? null : link.cost_ms)),
    measuredBy: there?.measured_by ?? back?.measured_by ?? "",
    demo,
  };
  const silent = there?.usable === false || back?.usable === false;
  const ageMs = worst((link) => link.age_ms);
  return { ...pair, tone: silent ? "bad" : linkTone(pair.rttMs, pair.lossRatio, ageMs) };
}

export function linkTone(rttMs: number | null, lossRatio: number | null, ageMs: number | null): Tone {
  if (rttMs === null && lossRatio === null) return "unknown";
  if (ageMs !== null && ageMs > STALE_MS) return "bad";
  if ((lossRatio ?? 0) >= LOSS_BAD || (rttMs ?? 0) >= RTT_BAD_MS) return "bad";
  if ((lossRatio ?? 0) >= LOSS_WARN || (rttMs ?? 0) >= RTT_WARN_MS) return "warn";
  return "good";
}

const TONE_RANK: Readonly<Record<Tone, number>> = { bad: 3, warn: 2, unknown: 1, good: 0 };
/** Costs closer than this are the same to a reader, and rows that change places each second are not read at all. */
const COST_STEP_MS = 50;

/** Worst first; links of one kind by cost in coarse steps, then by name. */
export function sortByBadness(pairs: readonly LinkPair[]): readonly LinkPair[] {
  const cost = ({ costMs }: LinkPair) => Math.round((costMs ?? 0) / COST_STEP_MS);
  return [...pairs].sort(
    (left, right) =>
      TONE_RANK[right.tone] - TONE_RANK[left.tone] ||
      cost(right) - cost(left) ||
      (left.key < right.key ? -1 : left.key > right.key ? 1 : 0),
  );
}

/** Whether somebody has made this emulated link worse than it is by itself. */
export function isWorsened(demo: DemoLink): boolean {
  return demo.blackout || demo.loss_ratio > demo.own_loss_ratio + 1e-6 || demo.delay_ms > demo.own_delay_ms + 1e-6;
}

/** The link worth making bad: worsened already, else the direct link of the most watched, slowest route. Null without a demo. */
export function linkToTry(pairs: readonly LinkPair[], stream: FleetStream | null): LinkPair | null {
  const emulated = pairs.filter(({ demo }) => demo !== null);
  const worsened = emulated.find(({ demo }) => demo !== null && isWorsened(demo));
  if (worsened !== undefined) return worsened;
  const watched = [...(stream?.routes ?? [])].sort(
    (left, right) => (right.viewers ?? 0) - (left.viewers ?? 0) || (right.delay_ms ?? 0) - (left.delay_ms ?? 0),
  );
  const paths = watched.map(pathOf).filter((path) => path.length > 1);
  const [a, b] = paths.find((path) => path.length === 2) ?? paths[0] ?? [];
  if (a === undefined || b === undefined) return emulated[0] ?? null;
  return emulated.find(({ key }) => key === pairKey(a, b)) ?? emulated[0] ?? null;
}

/** Hops of a path as pairs of edges, in the direction of the packets. */
export function hops(path: readonly string[]): readonly (readonly [string, string])[] {
  return path.slice(1).map((edge, index) => [path[index] ?? edge, edge] as const);
}

/** The way packets take now; a route not yet active is shown as planned. */
export function pathOf(route: FleetRoute): readonly string[] {
  return route.active_path.length > 1 ? route.active_path : [...route.primary].reverse();
}

/** The snapshot without routes into edges that are down: nothing flows there. */
export function withoutDeadRoutes(snapshot: Snapshot): Snapshot {
  const down = new Set(snapshot.edges.filter((edge) => edge.status === "down").map((edge) => edge.edge_id));
  if (down.size === 0) return snapshot;
  const streams = snapshot.streams.map((stream) => ({
    ...stream,
    routes: stream.routes.filter((route) => !down.has(route.edge_id)),
  }));
  return { ...snapshot, streams };
}

/** The route's phase in words a host understands; an unknown one is shown as it is. */
export function phaseText(phase: string): string {
  switch (phase) {
    case "":
    case "steady":
    case "primary":
    case "idle":
      return "steady";
    case "armed":
      return "backup armed";
    case "committed":
    case "backup":
      return "on the backup";
    default:
      return phase;
  }
}
