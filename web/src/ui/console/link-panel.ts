/** The selected link: its numbers, and in a demo the means to make it bad and good again. */
import { changeDemoLink, type DemoLinkChange } from "../../wire/console-feed";
import { byId, setFacts, setText, setTextOf } from "../shared/dom";
import { formatMs, formatRatio } from "../shared/format";
import { isWorsened, type LinkPair } from "./fleet";

/** Bad enough that a route around it is worth taking, mild enough that the picture survives until then. */
const BAD = { lossRatio: 0.1, delayMs: 200 };
/** Loss between regions comes in bursts; single lost packets would be too kind. */
const BURST_PACKETS = 3;

export class LinkPanel {
  readonly #form = byId("link-panel", HTMLFormElement);
  readonly #loss = byId("loss", HTMLInputElement);
  readonly #delay = byId("delay", HTMLInputElement);
  readonly #blackout = byId("blackout", HTMLInputElement);
  readonly #note = byId("link-note", HTMLElement);
  readonly #try = byId("try", HTMLElement);
  readonly #tryButton = byId("try-bad", HTMLButtonElement);
  #pair: LinkPair | null = null;
  #candidate: LinkPair | null = null;

  constructor(onSelect: (key: string) => void, onClose: () => void) {
    this.#tryButton.addEventListener("click", () => {
      const candidate = this.#candidate;
      if (candidate === null) return;
      onSelect(candidate.key);
      if (candidate.demo !== null && isWorsened(candidate.demo)) this.#restore();
      else this.#makeBad();
    });
    byId("link-close", HTMLButtonElement).addEventListener("click", onClose);
    byId("link-bad", HTMLButtonElement).addEventListener("click", () => this.#makeBad());
    byId("link-restore", HTMLButtonElement).addEventListener("click", () => this.#restore());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change(Number(this.#loss.value) / 100, Number(this.#delay.value), this.#blackout.checked);
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") onClose();
    });
    for (const input of [this.#loss, this.#delay]) input.addEventListener("input", () => this.#showValues());
  }

  /** Offers a link to make bad while none is selected; null where links are real. */
  offer(candidate: LinkPair | null): void {
    this.#candidate = candidate;
    this.#try.hidden = candidate === null || this.#pair !== null;
    if (candidate === null) return;
    const worsened = candidate.demo !== null && isWorsened(candidate.demo);
    setText(
      this.#tryButton,
      `${worsened ? "Restore" : "Make"} ${candidate.a} – ${candidate.b}${worsened ? "" : " bad"}`,
    );
    setTextOf(
      "try-text",
      worsened
        ? "This link was made bad. Restore it and watch the routes come back."
        : "These links are emulated. Make one bad and watch the routes go around it.",
    );
  }

  /** Called with each snapshot; the sliders take the link's values only when another link is selected. */
  show(pair: LinkPair | null): void {
    const selectedAnew = pair !== null && pair.key !== this.#pair?.key;
    this.#pair = pair;
    this.#form.hidden = pair === null;
    if (pair === null) return;
    this.#try.hidden = true;
    setTextOf("link-title", `${pair.a} – ${pair.b}`);
    setFacts(byId("link-facts", HTMLDListElement), [
      ["Round trip", formatMs(pair.rttMs)],
      [`Loss ${pair.a} → ${pair.b}`, formatRatio(pair.there?.loss_ratio ?? null)],
      [`Loss ${pair.b} → ${pair.a}`, formatRatio(pair.back?.loss_ratio ?? null)],
    ]);
    // On a narrow screen the panel stands above the table whose row was clicked.
    if (selectedAnew) this.#form.scrollIntoView({ block: "nearest" });
    const { demo } = pair;
    byId("link-demo", HTMLElement).hidden = demo === null;
    if (demo === null) return;
    if (selectedAnew) {
      setText(this.#note, "");
      this.#setValues(demo.loss_ratio, demo.delay_ms, demo.blackout);
    }
  }

  #makeBad(): void {
    const demo = this.#pair?.demo;
    if (demo == null) return;
    this.#change(BAD.lossRatio, demo.own_delay_ms + BAD.delayMs, false);
  }

  #restore(): void {
    const demo = this.#pair?.demo;
    if (demo == null) return;
    this.#setValues(demo.own_loss_ratio, demo.own_delay_ms, false);
    this.#send({ a: demo.a, b: demo.b, clear: true });
  }

  #change(lossRatio: number, delayMs: number, blackout: boolean): void {
    const demo = this.#pair?.demo;
    if (demo == null) return;
    this.#setValues(lossRatio, delayMs, blackout);
    this.#send({
      a: demo.a,
      b: demo.b,
      loss_ratio: lossRatio,
      burst_packets: BURST_PACKETS,
      delay_ms: delayMs,
      blackout,
    });
  }

  #send(change: DemoLinkChange): void {
    changeDemoLink(change)
      .then(() => setText(this.#note, change.clear === true ? "Restored." : "Applied. Watch the routes."))
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
    setTextOf("loss-out", formatRatio(Number(this.#loss.value) / 100));
    setTextOf("delay-out", formatMs(Number(this.#delay.value)));
  }
}
