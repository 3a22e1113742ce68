/** The operator's console: wires the snapshot feed to the map, the routes and the table of links. */
import "./console.css";
import { type FeedState, type FleetStream, followSnapshots, type Snapshot } from "../../wire/console-feed";
import { byId, h, setText, setTextOf } from "../shared/dom";
import { formatCount } from "../shared/format";
import { placeIcons } from "../shared/icons";
import { EdgesView } from "./edges-view";
import { linkPairs, linkToTry, withoutDeadRoutes } from "./fleet";
import { LinkPanel } from "./link-panel";
import { LinksView } from "./links-view";
import { MapView } from "./map-view";
import { RouteJournal } from "./route-journal";
import { RoutesView } from "./routes-view";

placeIcons();
const streams = byId("stream", HTMLSelectElement);
const routes = new RoutesView(byId("routes", HTMLOListElement), byId("log", HTMLOListElement));
const map = new MapView(byId("map", SVGSVGElement), select);
const edges = new EdgesView(byId("edges", HTMLUListElement));
const links = new LinksView(byId("links", HTMLTableSectionElement), byId("links-empty", HTMLElement), select);
const panel = new LinkPanel(open, () => open(null));
const journal = new RouteJournal();
let snapshot: Snapshot | null = null;
let room: string | null = null;
let selected: string | null = null;

streams.addEventListener("change", () => {
  room = streams.value;
  show();
});
followSnapshots({
  onSnapshot: (received) => {
    const next = withoutDeadRoutes(received);
    routes.log(journal.note(next), new Date());
    snapshot = next;
    show();
  },
  onState: showFeed,
});

/** A click on the selected link closes it again. */
function select(key: string): void {
  open(key === selected ? null : key);
}

function open(key: string | null): void {
  selected = key;
  show();
}

function show(): void {
  if (snapshot === null) return;
  const stream = chosenStream(snapshot);
  const pairs = linkPairs(snapshot);
  showStreams(snapshot, stream);
  showTotals(snapshot);
  map.show(snapshot, stream, selected);
  routes.show(stream);
  links.show(pairs, selected);
  edges.show(snapshot.edges);
  panel.show(pairs.find((pair) => pair.key === selected) ?? null);
  panel.offer(linkToTry(pairs, stream));
  byId("map-empty", HTMLElement).hidden = snapshot.edges.length > 0;
}

/** The stream chosen by hand while it lasts, else the one with the most viewers. */
function chosenStream({ streams: all }: Snapshot): FleetStream | null {
  const chosen = all.find((stream) => stream.room === room);
  return chosen ?? [...all].sort((left, right) => right.viewers - left.viewers)[0] ?? null;
}

function showStreams({ streams: all }: Snapshot, chosen: FleetStream | null): void {
  const key = all.map((stream) => `${stream.room}@${stream.source_edge}`).join();
  streams.disabled = all.length < 2;
  if (streams.dataset["key"] !== key) {
    streams.dataset["key"] = key;
    streams.replaceChildren(
      ...(all.length === 0
        ? [new Option("no stream", "")]
        : all.map((stream) => new Option(`${stream.room}, from ${stream.source_edge}`, stream.room))),
    );
  }
  if (chosen !== null) streams.value = chosen.room;
}

function showTotals({ edges: known, streams: all }: Snapshot): void {
  const up = known.filter((edge) => edge.status === "up").length;
  const viewers = known.reduce((sum, edge) => sum + edge.viewers, 0);
  const totals: readonly (readonly [string, string])[] = [
    [
      up === known.length ? formatCount(up) : `${up} of ${known.length}`,
      up === 1 && known.length === 1 ? "edge up" : "edges up",
    ],
    [formatCount(all.length), all.length === 1 ? "stream" : "streams"],
    [formatCount(viewers), viewers === 1 ? "viewer" : "viewers"],
  ];
  const list = byId("totals", HTMLDListElement);
  if (list.children.length === 0) list.append(...totals.map(() => h("div", {}, h("dd"), h("dt"))));
  totals.forEach(([value, name], index) => {
    const [dd, dt] = list.children[index]?.children ?? [];
    if (dd !== undefined) setText(dd, value);
    if (dt !== undefined) setText(dt, name);
  });
}

function showFeed(state: FeedState): void {
  byId("feed-dot", HTMLElement).dataset["tone"] = state === "open" ? "good" : "bad";
  // What is on screen is then the past, and looks like it.
  document.body.dataset["feed"] = state;
  const version = snapshot === null ? "" : `, routes ${snapshot.leader_epoch}.${snapshot.version}`;
  setTextOf(
    "feed-text",
    state === "open" ? `Live${version}` : "Control does not answer. Streams go on; what you see is old.",
  );
}
