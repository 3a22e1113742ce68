/** The selected link: its numbers, and in a demo the means to make it bad and good again. */
import { changeDemoLink, type DemoLinkChange } from "../../wire/console-feed";
import { byId, setFacts, setText } from "../shared/dom";
import { formatMs, formatRatio } from "../shared/format";
import type { LinkPair } from "./fleet";

/** Bad enough that a route around it is worth taking, mild enough that the picture survives until then. */
const BAD = { lossRatio: 0.1, delayMs: 400 };
/** Loss between regions comes in bursts; single lost packets would be too kind. */
const BURST_PACKETS = 3;

export class LinkPanel {
  readonly #form = byId("link-panel", HTMLFormElement);
  readonly #loss = byId("loss", HTMLInputElement);
  readonly #delay = byId("delay", HTMLInputElement);
  readonly #blackout = byId("blackout", HTMLInputElement);
  readonly #note = byId("link-note", HTMLElement);
  #pair: LinkPair | null = null;
  /** What each link was when this page first saw it, to restore it to. */
  readonly #normal = new Map<string, { lossRatio: number; delayMs: number }>();

  constructor(onClose: () => void) {
    byId("link-close", HTMLButtonElement).addEventListener("click", onClose);
    byId("link-bad", HTMLButtonElement).addEventListener("click", () => this.#makeBad());
    byId("link-restore", HTMLButtonElement).addEventListener("click", () => this.#restore());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(Number(this.#loss.value) / 100, Number(this.#delay.value), this.#blackout.checked);
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") onClose();
    });
    for (const input of [this.#loss, this.#delay]) input.addEventListener("input", () => this.#showValues());
  }

  /** Called with each snapshot; the sliders take the link's values only when another link is selected. */
  show(pair: LinkPair | null): void {
    const selectedAnew = pair !== null && pair.key !== this.#pair?.key;
    this.#pair = pair;
    this.#form.hidden = pair === null;
    if (pair === null) return;
    setText(byId("link-title", HTMLElement), `${pair.a} – ${pair.b}`);
    setFacts(byId("link-facts", HTMLDListElement), [
      ["Round trip", formatMs(pair.rttMs)],
      [`Loss ${pair.a} → ${pair.b}`, formatRatio(pair.there?.loss_ratio ?? null)],
      [`Loss ${pair.b} → ${pair.a}`, formatRatio(pair.back?.loss_ratio ?? null)],
    ]);
    const { demo } = pair;
    byId("link-demo", HTMLElement).hidden = demo === null;
    if (demo === null) return;
    if (!this.#normal.has(pair.key)) {
      this.#normal.set(pair.key, { lossRatio: demo.loss_ratio, delayMs: demo.delay_ms });
    }
    if (selectedAnew) {
      setText(this.#note, "");
      this.#setValues(demo.loss_ratio, demo.delay_ms, demo.blackout);
    }
  }

  #makeBad(): void {
    const normal = this.#normalOf(this.#pair);
    this.#send(BAD.lossRatio, normal.delayMs + BAD.delayMs / 2, false);
  }

  #restore(): void {
    const normal = this.#normalOf(this.#pair);
    this.#send(normal.lossRatio, normal.delayMs, false);
  }

  #normalOf(pair: LinkPair | null): { lossRatio: number; delayMs: number } {
    return this.#normal.get(pair?.key ?? "") ?? { lossRatio: 0, delayMs: 0 };
  }

  #send(lossRatio: number, delayMs: number, blackout: boolean): void {
    const { demo } = this.#pair ?? {};
    if (demo === undefined || demo === null) return;
    this.#setValues(lossRatio, delayMs, blackout);
    const change: DemoLinkChange = {
      a: demo.a,
      b: demo.b,
      loss_ratio: lossRatio,
      burst_packets: BURST_PACKETS,
      delay_ms: delayMs,
      blackout,
    };
    changeDemoLink(change)
      .then(() => setText(this.#note, "Applied. Watch the routes."))
      .catch((error: unknown) =>
        setText(this.#note, error instanceof Error ? error.message : "The change was refused."),
      );
  }

  #setValues(lossRatio: number, delayMs: number, blackout: boolean): void {
    this.#loss.value = String(lossRatio * 100);
    this.#delay.value = String(delayMs);
    this.#blackout.checked = blackout;
    this.#showValues();
  }

  #showValues(): void {
    setText(byId("loss-out", HTMLElement), formatRatio(Number(this.#loss.value) / 100));
    setText(byId("delay-out", HTMLElement), formatMs(Number(this.#delay.value)));
  }
}
