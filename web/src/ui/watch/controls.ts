/** Sound, flying comments, full screen; and the keys for them. */
import { readStored, writeStored } from "../../session/storage";
import { byId, setTextOf } from "../shared/dom";
import type { Flight } from "./flight";

const IDLE_AFTER_MS = 3_000;
const FLY_KEY = "tradewind.fly";
const OPACITY_KEY = "tradewind.opacity";

/** iPhones show only a video in full screen, and by a call of their own. */
type PhoneVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

export class Controls {
  onWrite: () => void = () => undefined;
  readonly #video: PhoneVideo;
  readonly #flight: Flight;
  readonly #stage = byId("stage", HTMLElement);
  readonly #unmute = byId("unmute", HTMLButtonElement);
  readonly #mute = byId("mute", HTMLButtonElement);
  readonly #fly = byId("fly", HTMLButtonElement);
  readonly #opacity = byId("opacity", HTMLInputElement);
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  /** Nothing plays before a gesture. */
  #blocked = false;

  constructor(video: HTMLVideoElement, flight: Flight) {
    this.#video = video;
    this.#flight = flight;
    this.#unmute.addEventListener("click", () => this.#setMuted(false));
    this.#mute.addEventListener("click", () => this.#setMuted(!video.muted));
    this.#fly.addEventListener("click", () => this.#setFlying(!flight.enabled));
    this.#opacity.addEventListener("input", () => this.#setOpacity(Number(this.#opacity.value)));
    const fullscreen = byId("fullscreen", HTMLButtonElement);
    fullscreen.hidden = !("requestFullscreen" in this.#stage) && !("webkitEnterFullscreen" in video);
    fullscreen.addEventListener("click", () => this.#toggleFullscreen());
    document.addEventListener("fullscreenchange", () =>
      fullscreen.setAttribute("aria-pressed", String(document.fullscreenElement !== null)),
    );
    video.addEventListener("volumechange", () => this.#showMuted());
    video.addEventListener("playing", () => {
      this.#blocked = false;
      this.#showMuted();
    });
    this.#stage.addEventListener("pointermove", () => this.#wake(), { passive: true });
    this.#stage.addEventListener("pointerdown", () => this.#wake(), { passive: true });
    document.addEventListener("keydown", (event) => this.#handleKey(event));
    this.#setFlying(readStored(FLY_KEY) !== "off");
    this.#setOpacity(storedOpacity());
    this.#showMuted();
    this.#wake();
  }

  /** The browser wants a gesture: for the sound, or before it plays at all. The unmute button is one for both. */
  showBlocked(needs: "sound" | "playback"): void {
    this.#blocked = needs === "playback";
    this.#showMuted();
  }

  #setMuted(muted: boolean): void {
    this.#video.muted = muted;
    void this.#video.play().catch(() => this.showBlocked("playback"));
    this.#showMuted();
  }

  #showMuted(): void {
    const { muted } = this.#video;
    document.body.dataset["muted"] = String(muted);
    const hasPicture = this.#video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    this.#unmute.hidden = !this.#blocked && !(muted && hasPicture);
    setTextOf("unmute-text", this.#blocked ? "Tap to play" : "Tap for sound");
    this.#mute.setAttribute("aria-pressed", String(!muted));
    byId("mute-icon", SVGUseElement).setAttribute("href", muted ? "#icon-muted" : "#icon-sound");
  }

  #setFlying(enabled: boolean): void {
    this.#flight.enabled = enabled;
    this.#fly.setAttribute("aria-pressed", String(enabled));
    writeStored(FLY_KEY, enabled ? "on" : "off");
  }

  #setOpacity(percent: number): void {
    this.#flight.opacity = percent / 100;
    this.#opacity.value = String(percent);
    writeStored(OPACITY_KEY, String(percent));
  }

  #toggleFullscreen(): void {
    if (!("requestFullscreen" in this.#stage)) {
      this.#video.webkitEnterFullscreen?.();
      return;
    }
    const change = document.fullscreenElement === null ? this.#stage.requestFullscreen() : document.exitFullscreen();
    // Refused inside some frames; the page stays as it is.
    void change.catch(() => undefined);
  }

  #handleKey(event: KeyboardEvent): void {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof HTMLInputElement && target.type !== "range") return;
    switch (event.key) {
      case "m":
        this.#setMuted(!this.#video.muted);
        return;
      case "d":
        this.#setFlying(!this.#flight.enabled);
        return;
      case "f":
        this.#toggleFullscreen();
        return;
      case "/":
        event.preventDefault();
        this.onWrite();
        return;
    }
  }

  #wake(): void {
    clearTimeout(this.#idleTimer);
    this.#stage.dataset["idle"] = "false";
    this.#idleTimer = setTimeout(() => {
      this.#stage.dataset["idle"] = "true";
    }, IDLE_AFTER_MS);
  }
}

function storedOpacity(): number {
  const percent = Number(readStored(OPACITY_KEY) ?? Number.NaN);
  return percent >= 20 && percent <= 100 ? percent : 90;
}
