/** The watch page: wires the player library to the elements of watch.html. */
import "./watch.css";
import { never } from "../../session/emitter";
import { guestName, rememberGuestName } from "../../session/guest";
import { createPlayer, type Player, type PlayerState } from "../../session/player";
import { ChatList } from "../shared/chat-list";
import { byId, setTextOf } from "../shared/dom";
import { placeIcons } from "../shared/icons";
import { explainRoomEnd } from "../shared/room-end";
import { roomFromPath } from "../shared/room-path";
import { missedText, onToken, showLiveBadge, showPresence } from "../shared/room-words";
import { Composer } from "./composer";
import { Controls } from "./controls";
import { Flight } from "./flight";
import { Status } from "./status";

placeIcons();
const room = roomFromPath(location.pathname);
const video = byId("video", HTMLVideoElement);
const flight = new Flight(byId("flight", HTMLElement));
const chat = new ChatList(byId("chat", HTMLElement), "No comments yet. Yours could be the first.");
const status = new Status();
const controls = new Controls(video, flight);
let edgeBefore = "";
let hasPlayed = false;
let token: string | undefined;
let player = start();
const composer = new Composer({
  onSay: (text, color) => void player.say(text, color),
  onRename: (name) => {
    rememberGuestName(name);
    player.rename(name);
  },
});
composer.showName(guestName());
controls.onWrite = () => composer.focus();

setTextOf("room-name", room);
document.title = `${room} · Tradewind`;
onToken((entered) => {
  token = entered;
  player.close();
  player = start(token);
});
video.addEventListener("resize", () => {
  document.body.dataset["portrait"] = String(video.videoHeight > video.videoWidth);
});
// `pagehide` also fires when a phone puts the page away for good; the session then ends at once, not after 30 s.
addEventListener("pagehide", () => player.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) player = start(token);
});
byId("retry", HTMLButtonElement).addEventListener("click", () => player.retry());

function start(admission?: string): Player {
  const made = createPlayer({ element: video, room, token: admission, name: guestName() });
  made.on("state", (state) => {
    document.body.dataset["state"] = state.name;
    if (state.name === "moving") document.body.dataset["moved"] = state.reason;
    document.body.dataset["edge"] = "edge" in state ? state.edge.edge_id : "";
    status.handleState(state);
    showVeil(state);
    if (state.name === "refused" && state.reason.includes("token"))
      composer.setOpen(false, "You are not in the room yet.");
    if (state.name === "playing") notePlaying(state.edge.edge_id);
  });
  made.on("stats", (stats) => {
    document.body.dataset["framesDecoded"] = String(stats.framesDecoded);
    status.handleStats(stats);
    if (made.state.name === "playing" && stats.framesDecoded === 0) say("Sound only", "The host sends no picture.");
  });
  made.on("edges", (edges) => status.showEdges(edges.slice(1).map((edge) => edge.edge_id)));
  made.on("live", ({ live }) => showLive(live));
  made.on("presence", ({ count }) => showPresence(count));
  made.on("room", ({ name, open, ended }) => {
    composer.showName(name);
    composer.setOpen(ended === null, explainRoomEnd(ended));
    document.body.dataset["room"] = open ? "open" : "closed";
  });
  made.on("blocked", ({ needs }) => controls.showBlocked(needs));
  made.on("danmaku", ({ entry, own, history }) => {
    chat.add({ ...entry, own });
    if (!history) flight.fly({ text: entry.text, color: entry.color, own });
  });
  made.on("accepted", ({ id }) => chat.accept(id));
  made.on("rejected", ({ id, text, detail }) => {
    chat.refuse(id);
    composer.giveBack(text);
    composer.note(detail);
  });
  made.on("missed", ({ count }) => chat.mark(missedText(count)));
  return made;
}

/** Tells the room's reader that the picture took another way; trying and failing is the pill's business. */
function notePlaying(edge: string): void {
  hasPlayed = true;
  if (edgeBefore !== "" && edgeBefore !== edge) chat.mark(`The picture now comes through ${edge}.`);
  edgeBefore = edge;
}

function showLive(live: boolean): void {
  document.body.dataset["live"] = String(live);
  showLiveBadge(live);
}

/** Covers the stage while there is no picture; once there was one, the last frame stays visible beneath. */
function showVeil(state: PlayerState): void {
  const veil = byId("veil", HTMLElement);
  veil.dataset["over"] = String(video.videoWidth > 0);
  byId("token-form", HTMLFormElement).hidden = !(state.name === "refused" && state.reason.includes("token"));
  byId("retry", HTMLButtonElement).hidden = state.name !== "unreachable";
  switch (state.name) {
    case "joining":
      say("Joining the room", "");
      return;
    case "connecting":
      say("Bringing the picture over", `through ${state.edge.edge_id}`);
      return;
    case "waiting":
      if (hasPlayed) say("The host has left", "The picture goes on by itself when they come back.");
      else say("Waiting for the host", "The picture starts by itself. You can already talk to the room.");
      return;
    case "playing":
    case "moving":
      veil.hidden = video.videoWidth > 0 || state.name === "playing";
      return;
    case "unreachable":
      say("No edge can be reached", "Check your connection. This page keeps trying.");
      return;
    case "refused":
      say("The room did not let you in", state.detail);
      return;
    case "closed":
      return;
    default:
      never(state);
  }
}

function say(heading: string, detail: string): void {
  byId("veil", HTMLElement).hidden = false;
  setTextOf("veil-title", heading);
  setTextOf("veil-text", detail);
}
