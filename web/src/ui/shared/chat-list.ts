/** The list of comments. Follows the newest unless the reader has scrolled up; keeps a bounded number of lines. */
import { h } from "./dom";

export interface ChatLine {
  readonly id: string;
  readonly person: string;
  readonly name: string;
  readonly text: string;
  readonly color?: string | undefined;
  readonly own: boolean;
}

/** More than anyone scrolls back in a live room; older lines leave the page. */
const LINES_MAX = 300;
const NAME_COLORS = ["#9fc6e8", "#e8b59f", "#c6b6ee", "#a8d8a6", "#ecd38e", "#eaa8c6", "#8fd6d2", "#d7cfa4"];

export class ChatList {
  readonly #list: HTMLOListElement;
  readonly #down: HTMLButtonElement;
  readonly #empty: HTMLParagraphElement;
  #following = true;

  constructor(root: HTMLElement, emptyText: string) {
    // A log is announced politely, additions only: what a live chat is to a screen reader.
    this.#list = h("ol", { class: "chat-list scrolls", role: "log", "aria-label": "Comments", tabindex: "0" });
    this.#down = h("button", { class: "button chat-down", type: "button", hidden: true }, "Newest comments");
    this.#empty = h("p", { class: "chat-empty" }, emptyText);
    root.append(this.#list, this.#empty, this.#down);
    this.#list.addEventListener("scroll", () => this.#handleScroll(), { passive: true });
    this.#down.addEventListener("click", () => this.#follow());
  }

  add(line: ChatLine): void {
    const name = h("span", { class: "chat-name" }, line.name || "guest");
    name.style.setProperty("--said", line.own ? "var(--tide)" : nameColor(line.person || line.name));
    const text = h("span", { class: "chat-text" }, line.text);
    if (line.color !== undefined) text.style.setProperty("--said", line.color);
    this.#append(h("li", { "data-id": line.id, "data-own": String(line.own) }, name, text));
  }

  /** A line of the page itself: the host came, the connection moved. */
  mark(text: string): void {
    this.#append(h("li", { class: "chat-mark" }, text));
  }

  /** The room did not take this comment. */
  refuse(id: string): void {
    this.#markRefused(id, true);
  }

  /** The room has this comment, even if it seemed lost before. */
  accept(id: string): void {
    this.#markRefused(id, false);
  }

  #markRefused(id: string, refused: boolean): void {
    // From the end: an answer concerns one of the newest lines.
    for (let item = this.#list.lastElementChild; item !== null; item = item.previousElementSibling) {
      if (!(item instanceof HTMLElement) || item.dataset["id"] !== id) continue;
      if (refused) item.dataset["refused"] = "true";
      else delete item.dataset["refused"];
      return;
    }
  }

  #append(item: HTMLLIElement): void {
    this.#empty.hidden = true;
    this.#list.append(item);
    while (this.#list.children.length > LINES_MAX) this.#list.firstElementChild?.remove();
    if (this.#following) this.#list.scrollTop = this.#list.scrollHeight;
    else this.#down.hidden = false;
  }

  #handleScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    this.#following = scrollHeight - scrollTop - clientHeight < 40;
    if (this.#following) this.#down.hidden = true;
  }

  #follow(): void {
    this.#following = true;
    this.#down.hidden = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}

/** The same person has the same colour on every page. FNV-1a, 32 bits. */
export function nameColor(person: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < person.length; index += 1) {
    hash = Math.imul(hash ^ person.charCodeAt(index), 0x01000193);
  }
  return NAME_COLORS[(hash >>> 0) % NAME_COLORS.length] ?? "#9fc6e8";
}
