/** The studio page: what to show, going live, and how the stream is doing. */
import "./studio.css";
import { never } from "../../session/emitter";
import { guestName } from "../../session/guest";
import type { VideoCodec } from "../../session/publish-session";
import { createPublisher, type Publisher, type PublisherState } from "../../session/publisher";
import { RoomSession } from "../../session/room";
import { joinRoom } from "../../wire/join";
import { ChatList } from "../shared/chat-list";
import { byId, h, setText } from "../shared/dom";
import { formatCount } from "../shared/format";
import { placeIcons } from "../shared/icons";
import { roomFromPath } from "../shared/room-path";
import { HealthView } from "./health-view";
import {
  explainSourceError,
  FRAMES_PER_SECOND,
  listDevices,
  type OpenSource,
  openCamera,
  openFile,
  openScreen,
  QUALITIES,
  QUALITY_DEFAULT,
  type Quality,
  type SourceKind,
} from "./source";

placeIcons();
const room = roomFromPath(location.pathname);
const preview = byId("preview", HTMLVideoElement);
const go = byId("go", HTMLButtonElement);
const goNote = byId("go-note", HTMLElement);
const trouble = byId("trouble", HTMLElement);
const file = byId("file", HTMLInputElement);
const camera = byId("camera", HTMLSelectElement);
const microphone = byId("microphone", HTMLSelectElement);
const quality = byId("quality", HTMLSelectElement);
const codec = byId("codec", HTMLSelectElement);
const health = new HealthView();
const chat = new ChatList(byId("chat", HTMLElement), "What viewers write appears here.");
let source: OpenSource | null = null;
let publisher: Publisher | null = null;

setText(byId("room-name", HTMLElement), room);
document.title = `${room} · Studio · Tradewind`;
quality.append(
  ...QUALITIES.map(({ label }, index) => new Option(label, String(index), false, index === QUALITY_DEFAULT)),
);
placeLink();
const roomSession = openRoom();

byId("source-camera", HTMLButtonElement).addEventListener("click", () => void choose("camera"));
byId("source-screen", HTMLButtonElement).addEventListener("click", () => void choose("screen"));
byId("source-file", HTMLButtonElement).addEventListener("click", () => file.click());
file.addEventListener("change", () => void choose("file"));
camera.addEventListener("change", () => void choose("camera"));
microphone.addEventListener("change", () => void choose("camera"));
quality.addEventListener("change", () => {
  if (source?.kind === "camera") void choose("camera");
});
go.addEventListener("click", () => (publisher === null ? goLive() : stop()));
byId("say", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
addEventListener("pagehide", () => {
  publisher?.stop();
  roomSession.close();
});

async function choose(kind: SourceKind): Promise<void> {
  trouble.hidden = true;
  try {
    const opened = await open(kind);
    if (opened === null) return;
    const before = source;
    source = opened;
    showSource(opened);
    // A track may end by itself: a screen no longer shared, a camera unplugged.
    opened.stream.getVideoTracks()[0]?.addEventListener("ended", () => handleSourceEnded(opened));
    if (publisher !== null && !(await publisher.replaceStream(opened.stream))) restart();
    before?.close();
    if (kind === "camera") await showDevices(opened.stream);
  } catch (error) {
    trouble.hidden = false;
    setText(trouble, explainSourceError(error));
  }
}

async function open(kind: SourceKind): Promise<OpenSource | null> {
  switch (kind) {
    case "camera":
      return openCamera(chosenQuality(), camera.value, microphone.value);
    case "screen":
      return openScreen(chosenQuality());
    case "file": {
      const [chosen] = file.files ?? [];
      file.value = "";
      return chosen === undefined ? null : openFile(chosen);
    }
    default:
      return never(kind);
  }
}

function showSource(opened: OpenSource): void {
  preview.srcObject = opened.stream;
  byId("preview-empty", HTMLElement).hidden = true;
  for (const kind of ["camera", "screen", "file"] as const) {
    byId(`source-${kind}`, HTMLButtonElement).setAttribute("aria-pressed", String(kind === opened.kind));
  }
  byId("camera-choice", HTMLElement).hidden = opened.kind !== "camera";
  byId("microphone-choice", HTMLElement).hidden = opened.kind !== "camera";
  if (publisher === null) {
    go.disabled = false;
    setText(goNote, "Viewers see you the moment you go live.");
  }
}

function handleSourceEnded(ended: OpenSource): void {
  if (source !== ended) return;
  trouble.hidden = false;
  setText(trouble, "The source has ended. Choose another one; the stream stays open.");
}

async function showDevices(stream: MediaStream): Promise<void> {
  const { cameras, microphones } = await listDevices();
  fill(camera, cameras, stream.getVideoTracks()[0]);
  fill(microphone, microphones, stream.getAudioTracks()[0]);
}

function fill(
  select: HTMLSelectElement,
  devices: readonly MediaDeviceInfo[],
  track: MediaStreamTrack | undefined,
): void {
  const current = track?.getSettings().deviceId ?? "";
  select.replaceChildren(
    ...devices.map(({ deviceId, label }) => new Option(label || "Device", deviceId, false, deviceId === current)),
  );
}

function goLive(): void {
  if (source === null) return;
  trouble.hidden = true;
  const made = createPublisher({
    room,
    stream: source.stream,
    settings: {
      codec: codec.value as VideoCodec,
      videoBitrateBps: chosenQuality().bitrateBps,
      framesPerSecond: FRAMES_PER_SECOND,
    },
  });
  publisher = made;
  made.on("state", showState);
  made.on("health", (report) => health.show(report));
  showState(made.state);
}

function stop(): void {
  publisher?.stop();
  publisher = null;
  showState({ name: "stopped" });
}

/** Other kinds of tracks than before need a new offer. */
function restart(): void {
  publisher?.stop();
  publisher = null;
  goLive();
}

function showState(state: PublisherState): void {
  const edge = byId("edge", HTMLElement);
  const on = state.name === "live" || state.name === "reconnecting" || state.name === "starting";
  document.body.dataset["state"] = state.name === "stopped" ? "off" : state.name;
  setText(go, on ? "Stop" : "Go live");
  go.dataset["kind"] = on ? "stop" : "live";
  codec.disabled = on;
  if (!on) {
    publisher = null;
    health.clear();
  }
  switch (state.name) {
    case "starting":
      setText(goNote, "Connecting to the nearest edge");
      return;
    case "live":
      setText(goNote, "You are live.");
      setText(edge, `Entering at ${state.edge.edge_id}`);
      roomSession.connect(state.edge);
      return;
    case "reconnecting":
      setText(goNote, `The edge was lost. Going on at ${state.edge.edge_id}`);
      setText(edge, `Moving to ${state.edge.edge_id}`);
      return;
    case "replaced":
      setText(goNote, "Another host took over this room.");
      setText(edge, "");
      return;
    case "refused":
      trouble.hidden = false;
      setText(trouble, state.detail);
      setText(goNote, "The edge refused the stream.");
      return;
    case "stopped":
      setText(goNote, source === null ? "Choose a source first." : "Off air. Nothing is sent.");
      setText(edge, "");
      return;
    default:
      never(state);
  }
}

function openRoom(): RoomSession {
  const session = new RoomSession({ room, name: guestName() || "Host" });
  session.on("welcome", ({ live }) => showLive(live));
  session.on("live", ({ live, incarnation }) => {
    showLive(live);
    publisher?.noteIncarnation(incarnation);
  });
  session.on("presence", ({ count }) => setText(byId("presence", HTMLElement), `${formatCount(count)} here`));
  session.on("entries", ({ entries }) => {
    for (const entry of entries) chat.add({ ...entry, own: entry.person === session.person });
  });
  session.on("rejected", ({ detail }) => chat.mark(detail));
  // The page's own edge; while live the room is the one at the edge that takes the stream.
  joinRoom(location.origin, room)
    .then((join) => session.connect(join.edges[0] ?? { edge_id: join.edge_id, url: location.origin }))
    .catch(() => session.connect({ edge_id: "", url: location.origin }));
  return session;
}

function showLive(live: boolean): void {
  const badge = byId("live-badge", HTMLElement);
  badge.dataset["live"] = String(live);
  setText(badge, live ? "LIVE" : "OFF AIR");
}

function say(): void {
  const input = byId("say-text", HTMLInputElement);
  const text = input.value.trim();
  if (text === "") return;
  roomSession.say(text, undefined, null);
  input.value = "";
}

function placeLink(): void {
  const link = byId("link", HTMLAnchorElement);
  const copyText = byId("copy-text", HTMLElement);
  link.href = new URL(`/watch/${encodeURIComponent(room)}`, location.origin).href;
  setText(link, link.href.replace(/^https?:\/\//, ""));
  byId("copy", HTMLButtonElement).addEventListener("click", () => {
    void copy(link.href).then((copied) => {
      setText(copyText, copied ? "Copied" : "Copy");
      setTimeout(() => setText(copyText, "Copy"), 2_000);
    });
  });
}

/** `navigator.clipboard` exists only in secure contexts; elsewhere a selected field can still be copied. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "hush" }, text);
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}

function chosenQuality(): Quality {
  return QUALITIES[Number(quality.value)] ?? (QUALITIES[QUALITY_DEFAULT] as Quality);
}

preview.addEventListener("resize", () => {
  setText(byId("preview-size", HTMLElement), `${preview.videoWidth}×${preview.videoHeight}`);
});
