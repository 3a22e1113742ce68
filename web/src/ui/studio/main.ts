/** The studio page: what to show, going live, and how the stream is doing. */
import "./studio.css";
import { guestName } from "../../session/guest";
import type { PublishSettings, VideoCodec } from "../../session/publish-session";
import { createPublisher, type Publisher, type PublisherState } from "../../session/publisher";
import { RoomSession } from "../../session/room";
import { joinRoom } from "../../wire/join";
import { ChatList } from "../shared/chat-list";
import { byId, setText, setTextOf } from "../shared/dom";
import { placeIcons } from "../shared/icons";
import { explainRoomEnd } from "../shared/room-end";
import { roomFromPath } from "../shared/room-path";
import { missedText, onToken, showLiveBadge, showPresence } from "../shared/room-words";
import { describeAir, isOthers } from "./air";
import { HealthView } from "./health-view";
import { FRAMES_PER_SECOND, type OpenSource } from "./source";
import { SourcePanel } from "./source-panel";
import { placeViewerLink } from "./viewer-link";

placeIcons();
const room = roomFromPath(location.pathname);
const go = byId("go", HTMLButtonElement);
const codec = byId("codec", HTMLSelectElement);
const sayText = byId("say-text", HTMLInputElement);
const tokenForm = byId("token-form", HTMLFormElement);
const health = new HealthView();
const chat = new ChatList(byId("chat", HTMLElement), "What viewers write appears here.");
const sources = new SourcePanel({
  onSource: handleSource,
  onQuality: () => void publisher?.applySettings(settings()),
  isOnAir: () => publisher !== null,
});
let publisher: Publisher | null = null;
let state: PublisherState = { name: "stopped" };
let token: string | undefined;
/** When this broadcast began; reconnects do not begin it anew. */
let liveSinceMs: number | null = null;
/** What the room says about its picture; the number is 0 while it has not named the source. */
let picture = { live: false, incarnation: 0 };
let ownIncarnation: number | null = null;
let roomSession = openRoom();

setTextOf("room-name", room);
document.title = `${room} · Studio · Tradewind`;
placeViewerLink(room);
show();

go.addEventListener("click", () => (publisher === null ? goLive() : stop()));
byId("say", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
onToken(enter);
addEventListener("beforeunload", (event) => {
  // Closing the tab of a running broadcast asks once.
  if (publisher !== null) event.preventDefault();
});
addEventListener("pagehide", () => {
  publisher?.stop();
  roomSession.close();
  sources.close();
});
addEventListener("pageshow", (event) => {
  // Kept in the browser's cache without its connections: begin anew.
  if (event.persisted) location.reload();
});

async function handleSource(source: OpenSource | null): Promise<void> {
  const taken = source === null || publisher === null || (await publisher.replaceStream(source.stream));
  // Other kinds of tracks than before need a new offer; viewers stay, as with any takeover.
  if (!taken) {
    stop();
    goLive();
  }
  show();
}

function goLive(): void {
  const source = sources.current;
  if (source === null) return;
  sources.showTrouble("");
  liveSinceMs = null;
  const made = createPublisher({ room, stream: source.stream, settings: settings(), token });
  publisher = made;
  made.on("state", (next) => handleState(made, next));
  made.on("health", (report) => {
    health.show(report);
    show();
  });
  handleState(made, made.state);
}

function stop(): void {
  const stopped = publisher;
  publisher = null;
  stopped?.stop();
  state = { name: "stopped" };
  health.clear();
  show();
}

function handleState(from: Publisher, next: PublisherState): void {
  if (from !== publisher) return;
  ownIncarnation = from.incarnation ?? ownIncarnation;
  if (next.name === "live") {
    liveSinceMs ??= performance.now();
    // While live the room is the one at the edge that takes the stream.
    roomSession.connect(next.edge);
  }
  state = next;
  if (next.name === "refused") {
    sources.showTrouble(next.detail);
    askForToken(next.reason);
  }
  if (next.name === "refused" || next.name === "replaced") {
    publisher = null;
    health.clear();
  }
  show();
}

function show(): void {
  const view = describeAir({
    state,
    hasSource: sources.current !== null,
    othersOnAir: publisher === null && isOthers(picture.live, picture.incarnation, ownIncarnation),
    liveForS: liveSinceMs === null ? 0 : (performance.now() - liveSinceMs) / 1_000,
  });
  document.body.dataset["state"] = state.name === "stopped" ? "off" : state.name;
  setText(go, view.label);
  go.dataset["kind"] = view.action === "stop" ? "stop" : "live";
  go.disabled = !view.enabled;
  codec.disabled = view.onAir;
  setTextOf("go-note", view.note);
  setTextOf("edge", view.edge);
}

function settings(): PublishSettings {
  return {
    codec: codec.value as VideoCodec,
    videoBitrateBps: sources.quality.bitrateBps,
    framesPerSecond: FRAMES_PER_SECOND,
  };
}

function openRoom(): RoomSession {
  const session = new RoomSession({ room, name: guestName() || "Host", token });
  session.on("welcome", ({ live }) => showPicture(live, live ? picture.incarnation : 0));
  session.on("live", ({ live, incarnation }) => {
    publisher?.noteIncarnation(incarnation);
    showPicture(live, incarnation);
  });
  session.on("open", (open) => {
    if (!open) publisher?.suspectEdge();
  });
  session.on("presence", ({ count }) => showPresence(count));
  session.on("entries", ({ entries }) => {
    for (const entry of entries) chat.add({ ...entry, own: entry.person === session.person });
  });
  session.on("rejected", ({ text, detail }) => {
    if (sayText.value === "") sayText.value = text;
    chat.mark(detail);
  });
  session.on("missed", ({ count }) => chat.mark(missedText(count)));
  session.on("goodbye", ({ reason, retry }) => {
    if (retry) return;
    chat.mark(explainRoomEnd(reason));
    askForToken(reason);
  });
  const here = { edge_id: "", url: location.origin };
  joinRoom(location.origin, room)
    .then((join) => {
      if (join.token_required && token === undefined) askForToken("token_missing");
      else session.roam(join.edges.length > 0 ? join.edges : [here]);
    })
    .catch(() => session.roam([here]));
  return session;
}

function askForToken(reason: string): void {
  if (!reason.includes("token")) return;
  tokenForm.hidden = false;
  byId("token", HTMLInputElement).focus();
}

function enter(entered: string): void {
  token = entered;
  tokenForm.hidden = true;
  sources.showTrouble("");
  roomSession.close();
  roomSession = openRoom();
  if (state.name === "refused") goLive();
}

function showPicture(live: boolean, incarnation: number): void {
  picture = { live, incarnation };
  showLiveBadge(live);
  show();
}

function say(): void {
  const text = sayText.value.trim();
  if (text === "") return;
  roomSession.say(text, undefined, null);
  sayText.value = "";
}
