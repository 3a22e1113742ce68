/** Sound, flying comments, full screen; and the keys for them. */
import { byId } from "../shared/dom";
import type { Flight } from "./flight";

const IDLE_AFTER_MS = 3_000;
const FLY_KEY = "tradewind.fly";
const OPACITY_KEY = "tradewind.opacity";

export class Controls {
  onWrite: () => void = () => undefined;
  readonly #video: HTMLVideoElement;
  readonly #flight: Flight;
  readonly #stage = byId("stage", HTMLElement);
  readonly #unmute = byId("unmute", HTMLButtonElement);
  readonly #mute = byId("mute", HTMLButtonElement);
  readonly #fly = byId("fly", HTMLButtonElement);
  readonly #opacity = byId("opacity", HTMLInputElement);
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(video: HTMLVideoElement, flight: Flight) {
    this.#video = video;
    this.#flight = flight;
    this.#unmute.addEventListener("click", () => this.#setMuted(false));
    this.#mute.addEventListener("click", () => this.#setMuted(!video.muted));
    this.#fly.addEventListener("click", () => this.#setFlying(!flight.enabled));
    this.#opacity.addEventListener("input", () => this.#setOpacity(Number(this.#opacity.value)));
    byId("fullscreen", HTMLButtonElement).addEventListener("click", () => this.#toggleFullscreen());
    video.addEventListener("volumechange", () => this.#showMuted());
    video.addEventListener("playing", () => this.#showMuted());
    this.#stage.addEventListener("pointermove", () => this.#wake(), { passive: true });
    this.#stage.addEventListener("pointerdown", () => this.#wake(), { passive: true });
    document.addEventListener("keydown", (event) => this.#handleKey(event));
    this.#setFlying(localStorage.getItem(FLY_KEY) !== "off");
    this.#setOpacity(Number(localStorage.getItem(OPACITY_KEY) ?? 90));
    this.#showMuted();
    this.#wake();
  }

  /** The browser wants a gesture before it plays: the unmute button is one. */
  showBlocked(): void {
    this.#unmute.hidden = false;
  }

  #setMuted(muted: boolean): void {
    this.#video.muted = muted;
    void this.#video.play().catch(() => this.showBlocked());
    this.#showMuted();
  }

  #showMuted(): void {
    const { muted } = this.#video;
    document.body.dataset["muted"] = String(muted);
    this.#unmute.hidden = !muted || this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
    this.#mute.setAttribute("aria-pressed", String(!muted));
    byId("mute-icon", SVGUseElement).setAttribute("href", muted ? "#icon-muted" : "#icon-sound");
  }

  #setFlying(enabled: boolean): void {
    this.#flight.enabled = enabled;
    this.#fly.setAttribute("aria-pressed", String(enabled));
    localStorage.setItem(FLY_KEY, enabled ? "on" : "off");
  }

  #setOpacity(percent: number): void {
    this.#flight.opacity = percent / 100;
    this.#opacity.value = String(percent);
    localStorage.setItem(OPACITY_KEY, String(percent));
  }

  #toggleFullscreen(): void {
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
