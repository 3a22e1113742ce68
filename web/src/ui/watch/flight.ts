/** Comments flying over the picture. Pauses while nobody looks; stands still for people who asked for less motion. */
import { h } from "../shared/dom";
import { LaneAllocator } from "./lanes";

export interface FlyingComment {
  readonly text: string;
  readonly color?: string | undefined;
  readonly own: boolean;
}

const FLIGHT_MS = 8_000;
const GAP_PX = 36;
/** Comments that find no lane wait; at the bound the oldest is not flown (the list still has it). */
const QUEUE_MAX = 40;
/** Longer ones are cut in flight; nobody reads 200 letters in eight seconds. */
const TEXT_MAX = 80;
/** How soon a full stage is looked at again; a lane takes longer to become free. */
const RETRY_MS = 120;
const STILL_MAX = 3;
const STILL_MS = 6_000;

export class Flight {
  readonly #root: HTMLElement;
  readonly #allocator = new LaneAllocator({ lanes: 0, stageWidthPx: 0, flightMs: FLIGHT_MS, gapPx: GAP_PX });
  readonly #waiting: FlyingComment[] = [];
  readonly #flying = new Map<HTMLElement, Animation>();
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #laneHeightPx = 30;
  #widthPx = 0;
  #heightPx = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #enabled = true;
  /** Stage time stops while the page is hidden, so that lanes keep their meaning. */
  #stoppedAtMs: number | null = null;
  #stoppedForMs = 0;

  constructor(root: HTMLElement) {
    this.#root = root;
    new ResizeObserver(() => this.#measure()).observe(root);
    this.#measure();
    document.addEventListener("visibilitychange", () => this.#handleVisibility());
    this.#handleVisibility();
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(enabled: boolean) {
    this.#enabled = enabled;
    this.#root.hidden = !enabled;
    if (enabled) return;
    this.#waiting.length = 0;
    for (const element of [...this.#flying.keys()]) this.#land(element);
  }

  set opacity(ratio: number) {
    this.#root.style.setProperty("--flight-opacity", String(ratio));
  }

  /** Flies a comment now or soon. While nobody looks nothing takes off: it would be old news on coming back. */
  fly(comment: FlyingComment): void {
    if (!this.#enabled || document.hidden) return;
    // One's own comment does not queue behind a crowd: it is the receipt for having sent it.
    if (comment.own) this.#waiting.unshift(comment);
    else this.#waiting.push(comment);
    if (this.#waiting.length > QUEUE_MAX) this.#waiting.splice(comment.own ? QUEUE_MAX : 0, 1);
    this.#launch();
  }

  #launch(): void {
    clearTimeout(this.#retry);
    if (this.#stoppedAtMs !== null || this.#widthPx === 0) return;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!(this.#calm.matches ? this.#stand(next) : this.#launchOne(next))) {
        this.#retry = setTimeout(() => this.#launch(), RETRY_MS);
        return;
      }
      this.#waiting.shift();
    }
  }

  #launchOne(comment: FlyingComment): boolean {
    this.#root.dataset["still"] = "false";
    const element = this.#make(comment);
    element.style.visibility = "hidden";
    this.#root.append(element);
    const widthPx = element.offsetWidth;
    const flight = this.#allocator.place(widthPx, this.#nowMs());
    if (flight === null) {
      element.remove();
      return false;
    }
    element.style.visibility = "";
    element.style.top = `${flight.lane * this.#laneHeightPx}px`;
    const animation = element.animate(
      [{ transform: `translateX(${this.#widthPx}px)` }, { transform: `translateX(${-widthPx}px)` }],
      { duration: flight.durationMs, easing: "linear", fill: "both" },
    );
    this.#flying.set(element, animation);
    animation.onfinish = () => this.#land(element);
    return true;
  }

  #stand(comment: FlyingComment): boolean {
    this.#root.dataset["still"] = "true";
    const element = this.#make(comment);
    this.#root.append(element);
    while (this.#root.children.length > STILL_MAX) this.#root.firstElementChild?.remove();
    setTimeout(() => element.remove(), STILL_MS);
    return true;
  }

  #make(comment: FlyingComment): HTMLElement {
    const letters = [...comment.text];
    const text = letters.length > TEXT_MAX ? `${letters.slice(0, TEXT_MAX).join("")}…` : comment.text;
    const element = h("div", { class: "flight-comment", "data-own": String(comment.own) }, text);
    if (comment.color !== undefined) element.style.color = comment.color;
    return element;
  }

  #land(element: HTMLElement): void {
    this.#flying.get(element)?.cancel();
    this.#flying.delete(element);
    element.remove();
  }

  #measure(): void {
    const { width, height } = this.#root.getBoundingClientRect();
    if (width === 0 || (width === this.#widthPx && height === this.#heightPx)) return;
    this.#widthPx = width;
    this.#heightPx = height;
    const sizePx = Number.parseFloat(getComputedStyle(this.#root).getPropertyValue("--flight-size")) || 22;
    this.#laneHeightPx = sizePx * 1.55;
    this.#allocator.resize({
      lanes: Math.max(1, Math.floor(height / this.#laneHeightPx)),
      stageWidthPx: width,
      flightMs: FLIGHT_MS,
      gapPx: GAP_PX,
    });
    // Flights on the old stage would cross those on the new one.
    for (const element of [...this.#flying.keys()]) this.#land(element);
  }

  #handleVisibility(): void {
    if (document.hidden) {
      this.#stoppedAtMs ??= performance.now();
      for (const animation of this.#flying.values()) animation.pause();
    } else if (this.#stoppedAtMs !== null) {
      this.#stoppedForMs += performance.now() - this.#stoppedAtMs;
      this.#stoppedAtMs = null;
      for (const animation of this.#flying.values()) animation.play();
      this.#launch();
    }
  }

  #nowMs(): number {
    return performance.now() - this.#stoppedForMs;
  }
}
