/** For the selected stream: each edge's route, its backup, and the reason control gives for it. */
import type { FleetRoute, FleetStream } from "../../wire/console-feed";
import { h } from "../shared/dom";
import { formatMs } from "../shared/format";
import { pathOf, phaseText } from "./fleet";
import { reasonLines } from "./reason";
import type { RouteChange } from "./route-journal";

const CHANGES_MAX = 40;

export class RoutesView {
  readonly #routes: HTMLOListElement;
  readonly #log: HTMLOListElement;
  #shown = "";

  constructor(routes: HTMLOListElement, log: HTMLOListElement) {
    this.#routes = routes;
    this.#log = log;
    log.append(h("li", { class: "log-empty quiet" }, "None since this page was opened."));
  }

  show(stream: FleetStream | null): void {
    const key = JSON.stringify([stream?.room, stream?.routes]);
    if (key === this.#shown) return;
    this.#shown = key;
    if (stream === null) {
      this.#routes.replaceChildren(empty("No stream is on. Routes appear with the first host."));
      return;
    }
    if (stream.routes.length === 0) {
      this.#routes.replaceChildren(
        empty(`${stream.room} enters at ${stream.source_edge}. No other edge carries it yet.`),
      );
      return;
    }
    this.#routes.replaceChildren(...stream.routes.map(card));
  }

  log(changes: readonly RouteChange[], at: Date): void {
    for (const change of changes) {
      this.#log.querySelector(".log-empty")?.remove();
      const time = at.toLocaleTimeString("en-GB");
      this.#log.prepend(
        h(
          "li",
          {},
          h("time", {}, time),
          h("span", {}, `${change.room} at ${change.edge}: ${way(change.from)} → ${way(change.to)}`),
          h("span", { class: "log-reason" }, ...reasonSpans(change.reason)),
        ),
      );
    }
    while (this.#log.children.length > CHANGES_MAX) this.#log.lastElementChild?.remove();
  }
}

function card(route: FleetRoute): HTMLLIElement {
  const path = pathOf(route);
  const phase = phaseText(route.phase);
  const head = h("div", { class: "route-head" }, chain(path), h("span", { class: "route-delay" }, delayText(route)));
  // An edge may still hold a backup armed that control has withdrawn: then there is none.
  const withdrawn = phase === "backup armed" && route.backup.length < 2;
  const facts = [phase === "steady" || withdrawn ? "" : phase, backupText(route)].filter((text) => text !== "");
  return h(
    "li",
    { class: "route", "data-edge": route.edge_id, "data-phase": phase, "data-path": path.join(">") },
    head,
    h("p", { class: "route-reason" }, ...reasonSpans(route.reason)),
    h("p", { class: "route-backup quiet" }, facts.join(", ")),
  );
}

function reasonSpans(reason: string): readonly HTMLElement[] {
  return reasonLines(reason).map(({ label, text }) =>
    h("span", { class: "reason-line" }, ...(label === "" ? [] : [h("b", {}, `${label} `)]), text),
  );
}

/** Zero is what control sends while the links of the path are silent: nobody knows then. */
function delayText(route: FleetRoute): string {
  return route.delay_ms !== null && route.delay_ms > 0 ? `${formatMs(route.delay_ms)} one way` : "delay not known";
}

function backupText(route: FleetRoute): string {
  if (route.backup.length < 2) return "no backup path";
  return `warm backup ${way([...route.backup].reverse())}`;
}

function way(path: readonly string[]): string {
  const relays = path.slice(1, -1);
  return relays.length === 0 ? "direct" : `via ${relays.join(", ")}`;
}

function chain(path: readonly string[]): HTMLElement {
  const element = h("span", { class: "chain", "aria-label": `from ${path.join(" to ")}` });
  path.forEach((edge, index) => {
    if (index > 0) element.append(h("i", { class: "chain-arrow", "aria-hidden": "true" }, "→"));
    element.append(h("b", {}, edge));
  });
  return element;
}

function empty(text: string): HTMLLIElement {
  return h("li", { class: "route-empty quiet" }, text);
}
