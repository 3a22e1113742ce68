/** The room around the picture: one person's socket, kept alive across drops and handed from edge to edge. */
import { Backoff } from "../wire/backoff";
import type { EdgeAddress, Hello, RoomEntry, ServerMessage, Welcome } from "../wire/messages";
import { RoomSocket } from "../wire/room-socket";
import { Emitter, never } from "./emitter";
import { guestPerson, randomId } from "./guest";

export interface RoomEntries {
  readonly entries: readonly RoomEntry[];
  /** True for what was said before this page came: for the list, not to fly. */
  readonly history: boolean;
}

export interface RoomEvents {
  welcome: Welcome;
  entries: RoomEntries;
  /** A comment of ours has its place. */
  accepted: { readonly id: string };
  /** A comment of ours was refused, with a sentence for the person. */
  rejected: { readonly id: string; readonly reason: string; readonly detail: string };
  presence: { readonly count: number };
  live: { readonly live: boolean; readonly incarnation: number };
  /** The edge asked us to leave (`retry` false: for good). */
  goodbye: { readonly reason: string; readonly retry: boolean };
  /** The socket opened or was lost. */
  open: boolean;
}

export interface RoomOptions {
  readonly room: string;
  readonly name: string;
  readonly token?: string | undefined;
}

/** (person, id) pairs remembered to show a repeated message once; twice the history an edge sends. */
const SEEN_MAX = 1_024;
/** A comment that could not be sent for this long belongs to a moment that has passed. */
const UNSENT_MAX_MS = 10_000;
const UNSENT_MAX = 16;

interface Unsent {
  readonly id: string;
  readonly text: string;
  readonly color: string | undefined;
  readonly mediaTimeMs: number | null;
  readonly atMs: number;
}

export class RoomSession extends Emitter<RoomEvents> {
  readonly #options: RoomOptions;
  readonly #backoff = new Backoff({ firstMs: 200, maxMs: 5_000, jitterRatio: 0.5 });
  readonly #seen = new Set<string>();
  /** Sent or waiting to be, until the edge has answered; sent again with the same id after a reconnect. */
  readonly #unanswered = new Map<string, Unsent>();
  #name: string;
  #socket: RoomSocket | null = null;
  #edge: EdgeAddress | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #open = false;
  #last: { epoch: number; offset: number } | null = null;
  #welcome: Welcome | null = null;
  #closed = false;

  constructor(options: RoomOptions) {
    super();
    this.#options = options;
    this.#name = options.name;
  }

  get open(): boolean {
    return this.#open;
  }

  get person(): string | null {
    return this.#welcome?.person ?? null;
  }

  /** Speaks to this edge from now on. The same edge again changes nothing. */
  connect(edge: EdgeAddress): void {
    if (this.#closed || this.#edge?.url === edge.url) return;
    this.#edge = edge;
    this.#backoff.reset();
    this.#dial();
  }

  /** Says a comment. Its id comes back in `accepted` or `rejected`, and in `entries` for everybody. */
  say(text: string, color: string | undefined, mediaTimeMs: number | null): string {
    const unsent: Unsent = { id: randomId(), text, color, mediaTimeMs, atMs: performance.now() };
    this.#unanswered.set(unsent.id, unsent);
    if (this.#unanswered.size > UNSENT_MAX) {
      const [oldest] = this.#unanswered.keys();
      if (oldest !== undefined) this.#unanswered.delete(oldest);
    }
    this.#sendComment(unsent);
    return unsent.id;
  }

  /** A name is part of hello, so a new one needs a new socket. */
  rename(name: string): void {
    if (name === this.#name) return;
    this.#name = name;
    if (this.#edge !== null) this.#dial();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.clear();
  }

  #dial(): void {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#setOpen(false);
    const edge = this.#edge;
    if (edge === null || this.#closed) return;
    this.#socket = new RoomSocket(edge.url, this.#options.room, this.#hello(), {
      onMessage: (message) => this.#handleMessage(message),
      onClose: () => this.#handleClose(),
    });
  }

  #hello(): Hello {
    const { token } = this.#options;
    return {
      type: "hello",
      name: this.#name,
      ...(token === undefined ? { person: guestPerson() } : { token }),
      ...(this.#last === null ? {} : { last_epoch: this.#last.epoch, last_offset: this.#last.offset }),
    };
  }

  #handleClose(): void {
    this.#setOpen(false);
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#dial(), this.#backoff.next());
  }

  #handleMessage(message: ServerMessage): void {
    switch (message.type) {
      case "welcome":
        this.#handleWelcome(message);
        return;
      case "batch":
        this.#handleEntries(message.messages);
        return;
      case "accepted":
        this.#unanswered.delete(message.id);
        this.emit("accepted", { id: message.id });
        return;
      case "rejected":
        this.#unanswered.delete(message.id);
        this.emit("rejected", message);
        return;
      case "presence":
        this.emit("presence", message);
        return;
      case "live":
        this.emit("live", message);
        return;
      case "pong":
        return;
      case "goodbye":
        if (!message.retry) this.#closed = true;
        this.emit("goodbye", message);
        return;
      default:
        never(message);
    }
  }

  #handleWelcome(welcome: Welcome): void {
    this.#welcome = welcome;
    this.#backoff.reset();
    this.#setOpen(true);
    this.emit("welcome", welcome);
    for (const unsent of [...this.#unanswered.values()]) {
      if (performance.now() - unsent.atMs > UNSENT_MAX_MS) this.#unanswered.delete(unsent.id);
      else this.#sendComment(unsent);
    }
  }

  #handleEntries(entries: readonly RoomEntry[]): void {
    const fresh = entries.filter((entry) => this.#remember(`${entry.person}/${entry.id}`));
    const newest = fresh.at(-1);
    if (newest === undefined) return;
    const welcome = this.#welcome;
    const firstVisit = this.#last === null;
    const history =
      firstVisit &&
      welcome !== null &&
      (newest.epoch < welcome.epoch || (newest.epoch === welcome.epoch && newest.offset <= welcome.offset));
    this.#last = { epoch: newest.epoch, offset: newest.offset };
    this.emit("entries", { entries: fresh, history });
  }

  #remember(key: string): boolean {
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    if (this.#seen.size > SEEN_MAX) {
      const [oldest] = this.#seen;
      if (oldest !== undefined) this.#seen.delete(oldest);
    }
    return true;
  }

  #sendComment(unsent: Unsent): void {
    this.#socket?.send({
      type: "danmaku",
      id: unsent.id,
      text: unsent.text,
      ...(unsent.color === undefined ? {} : { color: unsent.color }),
      ...(unsent.mediaTimeMs === null ? {} : { media_time_ms: unsent.mediaTimeMs }),
    });
  }

  #setOpen(open: boolean): void {
    if (this.#open === open) return;
    this.#open = open;
    this.emit("open", open);
  }
}
