/** Where a person writes: name, colour, text. Knows nothing of the network. */
import { byId, h, setText } from "../shared/dom";

export interface ComposerHandlers {
  readonly onSay: (text: string, color: string | undefined) => void;
  readonly onRename: (name: string) => void;
}

/** All of them readable over a dark picture and on the chat's ground. White is the room's default and not sent. */
const COLORS = [
  { name: "white", value: "#ffffff" },
  { name: "tide", value: "#79d8c5" },
  { name: "sun", value: "#f3cf6b" },
  { name: "coral", value: "#ff9a86" },
  { name: "lilac", value: "#c9b8ff" },
] as const;
const NOTE_MS = 6_000;

export class Composer {
  readonly #text = byId("text", HTMLInputElement);
  readonly #name = byId("name", HTMLInputElement);
  readonly #who = byId("who", HTMLButtonElement);
  readonly #whoName = byId("who-name", HTMLElement);
  readonly #note = byId("note", HTMLElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #handlers: ComposerHandlers;
  #color: string = COLORS[0].value;
  #noteTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(handlers: ComposerHandlers) {
    this.#handlers = handlers;
    this.#placeColors();
    byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#finishName();
      this.#say();
    });
    this.#who.addEventListener("click", () => this.#editName());
    this.#name.addEventListener("blur", () => this.#finishName());
    // Enter that takes a suggestion of an input method (Chinese, Japanese, Korean) does not send. Safari ends the
    // composition before the key event and marks it by key code 229 alone.
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && isComposing(event)) event.preventDefault();
    });
    this.#name.addEventListener("keydown", (event) => {
      if (isComposing(event)) return;
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      this.#finishName();
      this.#text.focus();
    });
  }

  focus(): void {
    this.#text.focus();
  }

  showName(name: string): void {
    setText(this.#whoName, name === "" ? "guest" : name);
    if (this.#name.hidden) this.#name.value = name;
  }

  /** Puts a comment that was not taken back, unless the person is writing the next one already. */
  giveBack(text: string): void {
    if (this.#text.value === "") this.#text.value = text;
  }

  /** Whether anything can be said; `why` stands in the field's place while not. */
  setOpen(open: boolean, why = ""): void {
    this.#text.disabled = !open;
    this.#send.disabled = !open;
    this.#text.placeholder = open ? "Say something" : why;
  }

  /** A sentence for the person, gone after a while. */
  note(text: string): void {
    clearTimeout(this.#noteTimer);
    setText(this.#note, text);
    this.#noteTimer = setTimeout(() => setText(this.#note, ""), NOTE_MS);
  }

  #say(): void {
    const text = this.#text.value.trim();
    if (text === "") return;
    this.#handlers.onSay(text, this.#color === COLORS[0].value ? undefined : this.#color);
    this.#text.value = "";
  }

  #editName(): void {
    this.#name.hidden = false;
    this.#who.hidden = true;
    this.#who.setAttribute("aria-expanded", "true");
    this.#name.focus();
    this.#name.select();
  }

  #finishName(): void {
    if (this.#name.hidden) return;
    this.#name.hidden = true;
    this.#who.hidden = false;
    this.#who.setAttribute("aria-expanded", "false");
    const name = this.#name.value.trim();
    if (name === "" || name === this.#whoName.textContent) return;
    this.showName(name);
    this.#handlers.onRename(name);
  }

  #placeColors(): void {
    const colors = byId("colors", HTMLFieldSetElement);
    for (const { name, value } of COLORS) {
      const input = h("input", {
        type: "radio",
        name: "color",
        value,
        checked: value === this.#color,
        "aria-label": name,
      });
      input.style.setProperty("--swatch", value);
      input.addEventListener("change", () => {
        this.#color = value;
      });
      colors.append(h("label", { title: name }, input));
    }
  }
}

function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}
