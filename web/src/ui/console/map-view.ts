/**
 * Edges, links and routes on a world map. Links are bows on the page, not great circles: Singapore to Virginia would
 * cross the pole and leave the map, and cables do not go there either.
 */
import { type GeoPath, type GeoProjection, geoNaturalEarth1, geoPath } from "d3-geo";
import type { MultiPoint } from "geojson";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import landTopology from "world-atlas/land-110m.json";
import type { FleetEdge, FleetStream, Snapshot } from "../../wire/console-feed";
import { setAttributes, svg } from "../shared/dom";
import { formatMs, formatRatio, formatThings } from "../shared/format";
import { STATUS_WORDS } from "./edges-view";
import { hops, type LinkPair, linkPairs, pairKey, pathOf, type Tone } from "./fleet";
import { type Box, type LabelWish, type NamePlace, placeLabels, placeNames } from "./labels";

type Point = readonly [longitude: number, latitude: number];

const topology = landTopology as unknown as Topology<{ land: GeometryCollection }>;
const LAND = feature(topology, topology.objects.land);
/** Room for labels at the rim, px. */
const PADDING = 74;
/** A fleet inside one city still shows the continent around it, degrees. */
const SPAN_MIN = 34;
/** Height of a bow's control point, as a share of its length. */
const BOW = 0.22;

/** With more links than this only those that matter now carry numbers; the table has them all. */
const CROWDED_LINKS = 12;

interface Bow {
  readonly d: string;
  readonly middle: Point;
}

interface DrawnLink {
  readonly line: SVGPathElement;
  readonly hit: SVGPathElement;
}

export class MapView {
  readonly #svg: SVGSVGElement;
  readonly #ground = svg("g", { "aria-hidden": "true" });
  readonly #links = svg("g");
  readonly #routes = svg("g", { class: "map-routes", "aria-hidden": "true" });
  readonly #labels = svg("g");
  readonly #edges = svg("g");
  readonly #onSelect: (key: string) => void;
  #projection: GeoProjection = geoNaturalEarth1();
  #path: GeoPath = geoPath(this.#projection);
  #fitted = "";
  #routesShown = "";
  #snapshot: Snapshot | null = null;
  #stream: FleetStream | null = null;
  #selected: string | null = null;
  readonly #drawn = new Map<string, DrawnLink>();
  /** Where edges' names stand: links' labels keep off. */
  #nameBoxes: readonly Box[] = [];

  constructor(root: SVGSVGElement, onSelect: (key: string) => void) {
    this.#svg = root;
    this.#onSelect = onSelect;
    root.append(this.#ground, this.#links, this.#routes, this.#labels, this.#edges);
    new ResizeObserver(() => {
      if (this.#snapshot !== null) this.show(this.#snapshot, this.#stream, this.#selected);
    }).observe(root);
  }

  show(snapshot: Snapshot, stream: FleetStream | null, selected: string | null): void {
    this.#snapshot = snapshot;
    this.#stream = stream;
    this.#selected = selected;
    this.#fit(snapshot.edges);
    const places = new Map(snapshot.edges.map((edge) => [edge.edge_id, [edge.longitude, edge.latitude] as Point]));
    const pairs = linkPairs(snapshot);
    this.#drawEdges(snapshot.edges, stream);
    this.#drawLinks(pairs, places);
    this.#drawRoutes(stream, places);
  }

  #fit(edges: readonly FleetEdge[]): void {
    const { width, height } = this.#svg.getBoundingClientRect();
    if (width === 0 || height === 0) return;
    const key = [width, height, ...edges.flatMap((edge) => [edge.longitude, edge.latitude])].join();
    if (key === this.#fitted) return;
    this.#fitted = key;
    this.#routesShown = "";
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#projection = geoNaturalEarth1().rotate([-middleLongitude(edges.map((edge) => edge.longitude)), 0]);
    const pad = Math.min(PADDING, width / 6);
    this.#projection.fitExtent(
      [
        [pad, pad],
        [width - pad, height - pad],
      ],
      frame(edges),
    );
    this.#path = geoPath(this.#projection);
    this.#ground.replaceChildren(
      svg("path", { class: "map-sphere", d: this.#path({ type: "Sphere" }) ?? "" }),
      svg("path", { class: "map-land", d: this.#path(LAND) ?? "" }),
    );
  }

  /** Keeps each link's elements, so that a focus and a hover outlive the next snapshot. */
  #drawLinks(pairs: readonly LinkPair[], places: ReadonlyMap<string, Point>): void {
    const drawn = new Map<string, Bow>();
    for (const pair of pairs) {
      const bow = this.#bowOf(pair, places);
      if (bow === null) continue;
      drawn.set(pair.key, bow);
      const { line, hit } = this.#drawn.get(pair.key) ?? this.#addLink(pair.key);
      setAttributes(line, { d: bow.d, "data-tone": pair.tone, "data-selected": String(pair.key === this.#selected) });
      setAttributes(hit, {
        d: bow.d,
        "aria-pressed": String(pair.key === this.#selected),
        "aria-label": `Link ${pair.a} to ${pair.b}: ${formatMs(pair.rttMs)}, ${formatRatio(pair.lossRatio)} lost`,
      });
    }
    for (const [key, { line, hit }] of this.#drawn) {
      if (drawn.has(key)) continue;
      line.remove();
      hit.remove();
      this.#drawn.delete(key);
    }
    this.#drawLabels(pairs, drawn);
  }

  #addLink(key: string): DrawnLink {
    const line = svg("path", { class: "map-link" });
    const hit = svg("path", { class: "map-hit", tabindex: "0", role: "button", "data-key": key });
    hit.addEventListener("click", () => this.#onSelect(key));
    hit.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.#onSelect(key);
    });
    this.#links.append(line, hit);
    const made = { line, hit };
    this.#drawn.set(key, made);
    return made;
  }

  #drawLabels(pairs: readonly LinkPair[], drawn: ReadonlyMap<string, Bow>): void {
    const onRoute = new Set(
      (this.#stream?.routes ?? []).flatMap((route) => hops(pathOf(route)).map((hop) => pairKey(...hop))),
    );
    const crowded = drawn.size > CROWDED_LINKS;
    this.#svg.dataset["crowded"] = String(crowded);
    const wishes = pairs.flatMap((pair) => {
      const middle = drawn.get(pair.key)?.middle;
      const priority = labelPriority(pair, pair.key === this.#selected, onRoute.has(pair.key));
      if (middle === undefined || pair.rttMs === null || (crowded && priority === 0)) return [];
      const text = labelText(pair);
      const width = text.length * 6.7 + 16;
      const box = { x: middle[0] - width / 2, y: middle[1] - 11, width, height: 22 };
      return [{ key: pair.key, priority, box, text, tone: pair.tone }];
    });
    const shown = placeLabels(wishes, this.#nameBoxes);
    this.#labels.replaceChildren(...wishes.filter(({ key }) => shown.has(key)).map(label));
  }

  /** Drawn anew only when a route changes, so that the flow along it does not start over each second. */
  #drawRoutes(stream: FleetStream | null, places: ReadonlyMap<string, Point>): void {
    const active = new Map<string, readonly [string, string]>();
    const backup = new Map<string, readonly [string, string]>();
    for (const route of stream?.routes ?? []) {
      for (const hop of hops(pathOf(route))) active.set(hop.join(">"), hop);
      for (const hop of hops([...route.backup].reverse())) backup.set(pairKey(...hop), hop);
    }
    for (const hop of active.values()) backup.delete(pairKey(...hop));
    const key = JSON.stringify([[...active.keys()], [...backup.keys()], stream?.room]);
    if (key === this.#routesShown) return;
    this.#routesShown = key;
    const draw = (kind: string, [from, to]: readonly [string, string]) => {
      const start = places.get(from);
      const end = places.get(to);
      if (start === undefined || end === undefined) return [];
      return [svg("path", { class: `map-${kind}`, d: this.#bow(start, end, places)?.d, "data-hop": `${from}>${to}` })];
    };
    this.#routes.replaceChildren(
      ...[...backup.values()].flatMap((hop) => draw("backup", hop)),
      ...[...active.values()].flatMap((hop) => [...draw("route", hop), ...draw("flow", hop)]),
    );
  }

  #drawEdges(edges: readonly FleetEdge[], stream: FleetStream | null): void {
    const wishes = edges.flatMap((edge) => {
      const at = this.#projection([edge.longitude, edge.latitude]);
      if (at === null) return [];
      const source = stream?.source_edge === edge.edge_id;
      const detail = edgeDetail(edge, source);
      const [nameWidth, detailWidth] = [edge.edge_id.length * 8.6 + 4, detail.length * 6.4 + 4];
      return [{ key: edge.edge_id, x: at[0], y: at[1], nameWidth, detailWidth, edge, source, detail }];
    });
    const places = placeNames(wishes, this.#svg.getBoundingClientRect().width);
    this.#nameBoxes = [...places.values()].flatMap(({ boxes }) => boxes);
    this.#edges.replaceChildren(
      ...wishes.map((wish) => {
        const { edge, source, x, y } = wish;
        const group = svg("g", {
          class: "map-edge",
          "data-edge": edge.edge_id,
          "data-status": edge.status,
          "data-source": String(source),
          transform: `translate(${x} ${y})`,
        });
        if (source) group.append(svg("circle", { class: "map-ring", r: "15" }));
        group.append(svg("circle", { class: "map-dot", r: "7.5" }));
        const place = places.get(edge.edge_id);
        if (place !== undefined) group.append(...edgeWords(edge.edge_id, wish.detail, place));
        return group;
      }),
    );
  }

  #bowOf(pair: LinkPair, places: ReadonlyMap<string, Point>): Bow | null {
    const a = places.get(pair.a);
    const b = places.get(pair.b);
    return a === undefined || b === undefined ? null : this.#bow(a, b, places);
  }

  /** A bow between two edges, bent away from the others; the same line whichever way it is asked for. */
  #bow(from: Point, to: Point, places: ReadonlyMap<string, Point>): Bow | null {
    const start = this.#projection([...from]);
    const end = this.#projection([...to]);
    if (start === null || end === null) return null;
    const others = [...places.values()].filter((place) => place !== from && place !== to);
    const { control, middle } = bend(
      start,
      end,
      others.flatMap((place) => [this.#projection([...place]) ?? start]),
    );
    const words = (point: Point) => `${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    return { d: `M${words(start)}Q${words(control)} ${words(end)}`, middle };
  }
}

/** Control point and middle of a quadratic curve that leaves the centre of `others` on its outer side. */
export function bend(
  start: Point,
  end: Point,
  others: readonly Point[],
): { readonly control: Point; readonly middle: Point } {
  const straight: Point = [(start[0] + end[0]) / 2, (start[1] + end[1]) / 2];
  // Perpendicular to the straight line, the half that points up the page.
  let away: Point = [end[1] - start[1], start[0] - end[0]];
  if (away[1] > 0 || (away[1] === 0 && away[0] > 0)) away = [-away[0], -away[1]];
  const centre = others.length === 0 ? null : mean(others);
  if (centre !== null) {
    const towards = (centre[0] - straight[0]) * away[0] + (centre[1] - straight[1]) * away[1];
    if (towards > 0) away = [-away[0], -away[1]];
  }
  const control: Point = [straight[0] + away[0] * BOW, straight[1] + away[1] * BOW];
  // A quadratic curve passes halfway between its chord and its control point.
  return { control, middle: [(straight[0] + control[0]) / 2, (straight[1] + control[1]) / 2] };
}

/** Selected, then in use, then in trouble; 0 for a link that is merely there. */
export function labelPriority(pair: Pick<LinkPair, "tone">, selected: boolean, onRoute: boolean): number {
  if (selected) return 4;
  if (onRoute) return 3;
  return pair.tone === "bad" ? 2 : pair.tone === "warn" ? 1 : 0;
}

function labelText(pair: LinkPair): string {
  const lossy = (pair.lossRatio ?? 0) >= 0.001;
  return lossy ? `${formatMs(pair.rttMs)}  ${formatRatio(pair.lossRatio)}` : formatMs(pair.rttMs);
}

function label({ box, text, tone }: LabelWish & { readonly text: string; readonly tone: Tone }): SVGGElement {
  const words = svg("text", { "text-anchor": "middle", x: String(box.x + box.width / 2), y: String(box.y + 15) });
  words.textContent = text;
  const ground = svg("rect", {
    x: String(box.x),
    y: String(box.y),
    width: String(box.width),
    height: String(box.height),
    rx: "11",
  });
  return svg("g", { class: "map-label", "data-tone": tone }, ground, words);
}

function edgeWords(name: string, detail: string, { side, detail: hasDetail }: NamePlace): readonly SVGTextElement[] {
  const anchor = side === "around" ? "middle" : side === "right" ? "start" : "end";
  const x = side === "around" ? 0 : side === "right" ? 15 : -15;
  const line = (className: string, y: number, text: string) => {
    const element = svg("text", { class: className, x: String(x), y: String(y), "text-anchor": anchor });
    element.textContent = text;
    return element;
  };
  const lines = [line("map-name", side === "around" ? -20 : -2, name)];
  if (hasDetail) lines.push(line("map-detail", side === "around" ? 27 : 15, detail));
  return lines;
}

function mean(points: readonly Point[]): Point {
  const sum = points.reduce<Point>((left, right) => [left[0] + right[0], left[1] + right[1]], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}

function edgeDetail(edge: FleetEdge, source: boolean): string {
  if (edge.status !== "up") return STATUS_WORDS[edge.status];
  const viewers = formatThings(edge.viewers, "viewer");
  return source ? `host, ${viewers}` : viewers;
}

/** The middle of the smallest arc of longitudes that holds all edges: a Pacific fleet is not torn apart. */
export function middleLongitude(longitudes: readonly number[]): number {
  const sorted = [...new Set(longitudes)].sort((left, right) => left - right);
  const [first] = sorted;
  if (first === undefined) return 0;
  let gap = -1;
  let start = first;
  let span = 0;
  sorted.forEach((longitude, index) => {
    const next = sorted[index + 1] ?? first + 360;
    if (next - longitude <= gap) return;
    gap = next - longitude;
    start = sorted[index + 1] ?? first;
    span = 360 - gap;
  });
  const middle = start + span / 2;
  return middle > 180 ? middle - 360 : middle;
}

/** What the map must show: the edges, and some of the world around them. */
function frame(edges: readonly FleetEdge[]): MultiPoint | { type: "Sphere" } {
  const points: Point[] = edges.map((edge) => [edge.longitude, edge.latitude]);
  if (points.length === 0) return { type: "Sphere" };
  const latitudes = points.map((point) => point[1]);
  const middle = (Math.max(...latitudes) + Math.min(...latitudes)) / 2;
  const longitude = middleLongitude(points.map((point) => point[0]));
  const corners: Point[] = [
    [longitude, Math.min(84, middle + SPAN_MIN / 2)],
    [longitude, Math.max(-60, middle - SPAN_MIN / 2)],
    [longitude - SPAN_MIN, middle],
    [longitude + SPAN_MIN, middle],
  ];
  return { type: "MultiPoint", coordinates: [...points, ...corners].map((point) => [...point]) };
}
