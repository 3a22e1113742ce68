/** The room around the picture: one person's socket, kept alive across drops and handed from edge to edge. */
import { Backoff } from "../wire/backoff";
import type { EdgeAddress, Hello, Rejected, RoomEntry, ServerMessage, Welcome } from "../wire/messages";
import { RoomSocket } from "../wire/room-socket";
import { EdgeRing } from "./edge-ring";
import { Emitter, never } from "./emitter";
import { guestPerson, randomId } from "./guest";
import { Heartbeat } from "./heartbeat";
import { Outbox, type OwnComment } from "./outbox";
import { RoomLog } from "./room-log";

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
  /** A comment of ours was not taken, with a sentence for the person. */
  rejected: { readonly id: string; readonly text: string; readonly reason: string; readonly detail: string };
  /** So many comments of others will not come any more. */
  missed: { readonly count: number };
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

const TICK_MS = 1_000;
/** Of what was missed while the socket was away, as many fly as a glance can take in; the list gets them all. */
const CATCH_UP_FLIES = 8;

export class RoomSession extends Emitter<RoomEvents> {
  readonly #options: RoomOptions;
  readonly #backoff = new Backoff({ firstMs: 200, maxMs: 5_000, jitterRatio: 0.5 });
  readonly #heartbeat = new Heartbeat();
  readonly #log = new RoomLog();
  readonly #outbox = new Outbox();
  #name: string;
  #socket: RoomSocket | null = null;
  #edge: EdgeAddress | null = null;
  #ring: EdgeRing | null = null;
  #redial: ReturnType<typeof setTimeout> | undefined;
  readonly #ticker: ReturnType<typeof setInterval>;
  #open = false;
  #welcome: Welcome | null = null;
  /** The next batch repeats what was said while no socket was open. */
  #catchingUp = false;
  /** Why no edge will let this person in again, or null. */
  #ended: string | null = null;

  constructor(options: RoomOptions) {
    super();
    this.#options = options;
    this.#name = options.name;
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  get open(): boolean {
    return this.#open;
  }

  get person(): string | null {
    return this.#welcome?.person ?? null;
  }

  /** Speaks to this edge from now on. The same edge again changes nothing. */
  connect(edge: EdgeAddress): void {
    this.#ring?.goTo(edge);
    if (this.#edge?.url === edge.url) return;
    this.#edge = edge;
    this.#backoff.reset();
    this.#dial();
  }

  /** Goes from edge to edge by itself when one cannot be reached; without this the owner says where. */
  roam(edges: readonly EdgeAddress[]): void {
    this.#ring = new EdgeRing(edges);
    this.connect(this.#ring.current);
  }

  /** Says a comment. Its id comes back in `accepted` or `rejected`, and in `entries` for everybody. */
  say(text: string, color: string | undefined, mediaTimeMs: number | null): string {
    const comment: OwnComment = { id: randomId(), text, color, mediaTimeMs, saidAtMs: performance.now() };
    if (this.#ended === null) {
      this.#outbox.add(comment);
      this.#sendComment(comment);
    } else {
      // After the caller has the id that this refusal is about.
      const detail = "This page is no longer in the room. Reload it to join again.";
      queueMicrotask(() => this.#reject(comment, "ended", detail));
    }
    return comment.id;
  }

  /** A name is part of hello, so a new one needs a new socket. */
  rename(name: string): void {
    if (name === this.#name) return;
    this.#name = name;
    if (this.#edge !== null) this.#dial();
  }

  /** Tries at once what waits for its next attempt: the network came back. */
  wake(): void {
    if (this.#open || this.#edge === null) return;
    this.#backoff.reset();
    this.#dial();
  }

  close(): void {
    this.#ended ??= "closed";
    clearTimeout(this.#redial);
    clearInterval(this.#ticker);
    this.#socket?.close();
    this.#socket = null;
    this.clear();
  }

  #dial(): void {
    clearTimeout(this.#redial);
    this.#socket?.close();
    this.#setOpen(false);
    const edge = this.#edge;
    if (edge === null || this.#ended !== null) return;
    this.#socket = new RoomSocket(edge.url, this.#options.room, this.#hello(), {
      onMessage: (message) => this.#handleMessage(message),
      onClose: () => this.#handleClose(),
    });
  }

  #hello(): Hello {
    const { token } = this.#options;
    const { last } = this.#log;
    return {
      type: "hello",
      name: this.#name,
      ...(token === undefined ? { person: guestPerson() } : { token }),
      ...(last === null ? {} : { last_epoch: last.epoch, last_offset: last.offset }),
    };
  }

  #handleClose(): void {
    const wasOpen = this.#open;
    this.#setOpen(false);
    if (this.#ended !== null) return;
    if (!wasOpen && this.#ring !== null) this.#edge = this.#ring.moveOn(performance.now() / 1_000);
    this.#redial = setTimeout(() => this.#dial(), this.#backoff.next());
  }

  #handleMessage(message: ServerMessage): void {
    this.#heartbeat.handleHeard();
    switch (message.type) {
      case "welcome":
        this.#handleWelcome(message);
        return;
      case "batch":
        this.#handleEntries(message.messages);
        return;
      case "accepted":
        this.#outbox.handleAccepted(message.id);
        this.emit("accepted", { id: message.id });
        return;
      case "rejected":
        this.#handleRejected(message);
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
        if (!message.retry) this.#ended = message.reason;
        this.emit("goodbye", message);
        return;
      default:
        never(message);
    }
  }

  #handleWelcome(welcome: Welcome): void {
    this.#catchingUp = this.#welcome !== null;
    this.#welcome = welcome;
    this.#backoff.reset();
    this.#ring?.apply(welcome.edges);
    this.#ring?.markGood();
    this.#heartbeat.handleOpen(performance.now());
    this.#setOpen(true);
    this.emit("welcome", welcome);
    this.#giveUpOld();
    for (const comment of this.#outbox.handleOpen()) this.#sendComment(comment);
  }

  #handleEntries(entries: readonly RoomEntry[]): void {
    const welcome = this.#welcome;
    for (const { person, id } of entries) {
      // One's own comment in the log is its answer, should `accepted` have been lost.
      if (person === welcome?.person) this.#outbox.handleAccepted(id);
    }
    const firstVisit = this.#log.last === null;
    const fresh = this.#log.handleEntries(entries, performance.now());
    const newest = fresh.at(-1);
    if (newest === undefined) return;
    const saidBefore =
      welcome !== null &&
      (newest.epoch < welcome.epoch || (newest.epoch === welcome.epoch && newest.offset <= welcome.offset));
    const flies = !saidBefore ? fresh.length : firstVisit ? 0 : this.#catchingUp ? CATCH_UP_FLIES : fresh.length;
    const listed = fresh.slice(0, Math.max(0, fresh.length - flies));
    if (listed.length > 0) this.emit("entries", { entries: listed, history: true });
    if (listed.length < fresh.length) this.emit("entries", { entries: fresh.slice(listed.length), history: false });
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#giveUpOld();
    const missed = this.#log.pollMissed(nowMs);
    if (missed > 0) this.emit("missed", { count: missed });
    if (!this.#open) return;
    for (const comment of this.#outbox.pollDue(nowMs)) this.#sendComment(comment);
    switch (this.#heartbeat.poll(nowMs)) {
      case "ping":
        this.#socket?.send({ type: "ping", id: randomId() });
        return;
      case "dead":
        this.#dial();
        return;
      case "wait":
        return;
    }
  }

  #handleRejected({ id, reason, detail, retry_after_ms }: Rejected): void {
    const comment = this.#outbox.handleRejected(id, reason, retry_after_ms, performance.now());
    if (comment !== null) this.#reject(comment, reason, detail);
  }

  #giveUpOld(): void {
    for (const comment of this.#outbox.pollGivenUp(performance.now())) {
      this.#reject(comment, "not_sent", "The room could not be reached. Your comment was not sent.");
    }
  }

  #reject({ id, text }: OwnComment, reason: string, detail: string): void {
    this.emit("rejected", { id, text, reason, detail });
  }

  #sendComment({ id, text, color, mediaTimeMs }: OwnComment): void {
    // Before welcome nothing may be sent but hello; the outbox sends it then.
    if (!this.#open) return;
    this.#socket?.send({
      type: "danmaku",
      id,
      text,
      ...(color === undefined ? {} : { color }),
      ...(mediaTimeMs === null ? {} : { media_time_ms: mediaTimeMs }),
    });
  }

  #setOpen(open: boolean): void {
    if (this.#open === open) return;
    this.#open = open;
    this.emit("open", open);
  }
}
