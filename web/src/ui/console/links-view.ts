/** The table of links: what is measured now, and the last minute of it. */
import { h, setText, svg } from "../shared/dom";
import { formatMs, formatRatio, UNKNOWN } from "../shared/format";
import { sparkPath, sparkX } from "../shared/spark";
import { type LinkPair, sortByBadness } from "./fleet";

/** One minute at one snapshot a second. */
const SPARK = { points: 60, width: 120, height: 22 };
const SPARK_HEADROOM = 1.2;

/** What the colour of the dot says. */
const TONE_WORDS: Readonly<Record<LinkPair["tone"], string>> = {
  good: ", healthy",
  warn: ", slow or lossy",
  bad: ", bad or silent",
  unknown: ", not measured yet",
};

interface Row {
  readonly element: HTMLTableRowElement;
  readonly name: HTMLElement;
  readonly tone: HTMLElement;
  readonly numbers: readonly HTMLElement[];
  readonly line: SVGPathElement;
  readonly losses: SVGPathElement;
  readonly history: { rttMs: number; lossRatio: number }[];
}

export class LinksView {
  readonly #body: HTMLTableSectionElement;
  readonly #onSelect: (key: string) => void;
  readonly #rows = new Map<string, Row>();
  readonly #empty: HTMLElement;

  constructor(body: HTMLTableSectionElement, empty: HTMLElement, onSelect: (key: string) => void) {
    this.#body = body;
    this.#empty = empty;
    this.#onSelect = onSelect;
  }

  show(pairs: readonly LinkPair[], selected: string | null): void {
    const keys = new Set(pairs.map((pair) => pair.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    const sorted = sortByBadness(pairs);
    this.#empty.hidden = sorted.length > 0;
    for (const pair of sorted) {
      const row = this.#rows.get(pair.key) ?? this.#addRow(pair);
      row.element.dataset["tone"] = pair.tone;
      row.element.dataset["selected"] = String(pair.key === selected);
      row.name.setAttribute("aria-pressed", String(pair.key === selected));
      setText(row.tone, TONE_WORDS[pair.tone]);
      cells(pair).forEach((text, index) => {
        const cell = row.numbers[index];
        if (cell !== undefined) setText(cell, text);
      });
      if (pair.rttMs !== null) row.history.push({ rttMs: pair.rttMs, lossRatio: pair.lossRatio ?? 0 });
      if (row.history.length > SPARK.points) row.history.shift();
      drawHistory(row);
    }
    this.#order(sorted);
  }

  /** Rows keep their places while somebody points at one or has it in focus: nobody clicks a moving target. */
  #order(sorted: readonly LinkPair[]): void {
    if (this.#body.matches(":hover") || this.#body.querySelector(":focus-visible") !== null) return;
    sorted.forEach(({ key }, index) => {
      const element = this.#rows.get(key)?.element;
      const there = this.#body.children[index];
      if (element !== undefined && there !== element) this.#body.insertBefore(element, there ?? null);
    });
  }

  #addRow(pair: LinkPair): Row {
    const tone = h("span", { class: "hush" });
    const name = h(
      "button",
      { class: "link-name", type: "button" },
      h("span", { class: "dot" }),
      `${pair.a} – ${pair.b}`,
      tone,
    );
    name.addEventListener("click", () => this.#onSelect(pair.key));
    const numbers = Array.from({ length: 7 }, () => h("td", { class: "num" }));
    const by = h("td", { class: "quiet" });
    const line = svg("path", { class: "history-line" });
    const losses = svg("path", { class: "history-loss" });
    const history = svg(
      "svg",
      {
        class: "history",
        viewBox: `0 0 ${SPARK.width} ${SPARK.height}`,
        width: String(SPARK.width),
        "aria-hidden": "true",
      },
      losses,
      line,
    );
    const element = h(
      "tr",
      { "data-key": pair.key },
      h("th", { scope: "row" }, name),
      ...numbers,
      h("td", {}, history),
      by,
    );
    this.#body.append(element);
    const row: Row = { element, name, tone, numbers: [...numbers, by], line, losses, history: [] };
    this.#rows.set(pair.key, row);
    return row;
  }
}

function cells(pair: LinkPair): readonly string[] {
  return [
    formatMs(pair.rttMs),
    formatMs(pair.p95Ms),
    formatRatio(pair.there?.loss_ratio ?? null),
    formatRatio(pair.back?.loss_ratio ?? null),
    formatMs(pair.jitterMs),
    formatRatio(pair.utilisation),
    formatMs(pair.costMs),
    pair.measuredBy === "" ? UNKNOWN : pair.measuredBy === "trunk" ? "trunk" : "probes",
  ];
}

/** Round trip as a line from zero, loss as bars beneath it that fill at 10 %. */
function drawHistory({ history, line, losses }: Row): void {
  const rtts = history.map(({ rttMs }) => rttMs);
  const bars = history.map(({ lossRatio }, index) => {
    const heightPx = Math.min(1, lossRatio / 0.1) * SPARK.height;
    const x = sparkX(index, history.length, SPARK).toFixed(1);
    return heightPx > 0.3 ? `M${x} ${SPARK.height}v${(-heightPx).toFixed(1)}` : "";
  });
  line.setAttribute("d", sparkPath(rtts, SPARK, SPARK_HEADROOM));
  losses.setAttribute("d", bars.join(""));
}
