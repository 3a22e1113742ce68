/** What watch page and studio both show of the room: whether a host is on air, how many are here, what got lost. */
import { byId, setText, setTextOf } from "./dom";
import { formatCount } from "./format";

export function showLiveBadge(live: boolean): void {
  const badge = byId("live-badge", HTMLElement);
  badge.dataset["live"] = String(live);
  setText(badge, live ? "LIVE" : "OFF AIR");
}

export function showPresence(count: number): void {
  byId("presence", HTMLElement).hidden = false;
  setTextOf("presence", `${formatCount(count)} here`);
}

export function missedText(count: number): string {
  return count === 1 ? "A comment was lost." : `${formatCount(count)} comments were lost.`;
}

/** Calls back with what was entered into the page's token form, unless it was left empty. */
export function onToken(handle: (token: string) => void): void {
  byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const entered = byId("token", HTMLInputElement).value.trim();
    if (entered !== "") handle(entered);
  });
}
