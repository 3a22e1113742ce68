/** The host's choice of what to show: source, devices, quality, with the preview of it. Knows nothing of the network. */
import { never } from "../../session/emitter";
import { byId, setText, setTextOf } from "../shared/dom";
import {
  explainSourceError,
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

export interface SourceHandlers {
  /** Another source, or none. The former one is released when this has settled. */
  readonly onSource: (source: OpenSource | null) => Promise<void>;
  readonly onQuality: (quality: Quality) => void;
  readonly isOnAir: () => boolean;
}

export class SourcePanel {
  readonly #handlers: SourceHandlers;
  readonly #preview = byId("preview", HTMLVideoElement);
  readonly #file = byId("file", HTMLInputElement);
  readonly #camera = byId("camera", HTMLSelectElement);
  readonly #microphone = byId("microphone", HTMLSelectElement);
  readonly #quality = byId("quality", HTMLSelectElement);
  readonly #trouble = byId("trouble", HTMLElement);
  readonly #notice = byId("notice", HTMLElement);
  #current: OpenSource | null = null;
  /** Counts choices, so that a slow dialog does not overrule a later choice. */
  #choice = 0;

  constructor(handlers: SourceHandlers) {
    this.#handlers = handlers;
    this.#quality.append(
      ...QUALITIES.map(({ label }, index) => new Option(label, String(index), false, index === QUALITY_DEFAULT)),
    );
    byId("source-camera", HTMLButtonElement).addEventListener("click", () => void this.#chooseCamera());
    byId("source-screen", HTMLButtonElement).addEventListener("click", () => void this.#choose("screen"));
    byId("source-file", HTMLButtonElement).addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => void this.#choose("file"));
    this.#camera.addEventListener("change", () => void this.#choose("camera"));
    this.#microphone.addEventListener("change", () => void this.#choose("camera"));
    this.#quality.addEventListener("change", () => this.#changeQuality());
    this.#preview.addEventListener("resize", () => this.#showSize());
    // A camera plugged in while the page is open appears in the list.
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#showDevices());
  }

  get current(): OpenSource | null {
    return this.#current;
  }

  get quality(): Quality {
    return QUALITIES[Number(this.#quality.value)] ?? (QUALITIES[QUALITY_DEFAULT] as Quality);
  }

  showTrouble(text: string): void {
    this.#trouble.hidden = text === "";
    setText(this.#trouble, text);
  }

  /** Releases camera, microphone, screen and file. */
  close(): void {
    this.#choice += 1;
    this.#current?.close();
    this.#current = null;
  }

  /** The pressed camera button lets the camera go while nobody sees it. */
  async #chooseCamera(): Promise<void> {
    if (this.#current?.kind === "camera" && !this.#handlers.isOnAir()) await this.#release();
    else await this.#choose("camera");
  }

  async #choose(kind: SourceKind): Promise<void> {
    this.#choice += 1;
    const choice = this.#choice;
    this.showTrouble("");
    try {
      const opened = await this.#open(kind);
      if (opened === null) return;
      if (choice !== this.#choice) return opened.close();
      const before = this.#current;
      this.#current = opened;
      this.#show(opened);
      for (const track of opened.stream.getTracks()) track.addEventListener("ended", () => this.#handleEnded(opened));
      await this.#handlers.onSource(opened);
      before?.close();
      await this.#showDevices();
    } catch (error) {
      this.showTrouble(explainSourceError(error, kind));
    }
  }

  async #open(kind: SourceKind): Promise<OpenSource | null> {
    switch (kind) {
      case "camera":
        return this.#openCamera();
      case "screen":
        return openScreen(this.quality);
      case "file": {
        const [chosen] = this.#file.files ?? [];
        // The same file chosen again is a change, too.
        this.#file.value = "";
        return chosen === undefined ? null : openFile(chosen);
      }
      default:
        return never(kind);
    }
  }

  /** Phones open one camera at a time: the second attempt comes after the first camera was let go. */
  async #openCamera(): Promise<OpenSource> {
    const open = () => openCamera(this.quality, this.#camera.value, this.#microphone.value);
    try {
      return await open();
    } catch (error) {
      const busy = error instanceof Error && (error.name === "NotReadableError" || error.name === "AbortError");
      if (!busy || this.#current?.kind !== "camera") throw error;
      this.#current.close();
      return open();
    }
  }

  async #release(): Promise<void> {
    this.close();
    this.#show(null);
    await this.#handlers.onSource(null);
  }

  #changeQuality(): void {
    this.#handlers.onQuality(this.quality);
    if (this.#current?.kind === "camera") void this.#choose("camera");
  }

  #show(source: OpenSource | null): void {
    const camera = source?.kind === "camera";
    this.#preview.srcObject = source?.stream ?? null;
    const empty = byId("preview-empty", HTMLElement);
    const silent = source !== null && source.stream.getVideoTracks().length === 0;
    empty.hidden = source !== null && !silent;
    setText(empty, silent ? "Sound only" : "Choose what to show");
    for (const kind of ["camera", "screen", "file"] as const) {
      byId(`source-${kind}`, HTMLButtonElement).setAttribute("aria-pressed", String(kind === source?.kind));
    }
    byId("camera-choice", HTMLElement).hidden = !camera;
    byId("microphone-choice", HTMLElement).hidden = !camera;
    setText(this.#notice, source?.notice ?? "");
    this.#showSize();
  }

  #showSize(): void {
    const { videoWidth, videoHeight } = this.#preview;
    const shown = this.#current !== null && videoWidth > 0;
    setTextOf("preview-size", shown ? `${videoWidth}×${videoHeight}` : "");
  }

  /** A track may end by itself: a screen no longer shared, a camera unplugged. */
  #handleEnded(ended: OpenSource): void {
    if (this.#current !== ended) return;
    const onAir = this.#handlers.isOnAir();
    this.showTrouble(`The source has ended. Choose another one${onAir ? "; you stay on air meanwhile" : ""}.`);
  }

  async #showDevices(): Promise<void> {
    if (this.#current?.kind !== "camera") return;
    const { stream } = this.#current;
    const { cameras, microphones } = await listDevices();
    fill(this.#camera, cameras, stream.getVideoTracks()[0]);
    fill(this.#microphone, microphones, stream.getAudioTracks()[0]);
  }
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
  select.disabled = devices.length === 0;
}
