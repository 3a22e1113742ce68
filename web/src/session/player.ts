/**
 * The player library.
 *
 *     const player = createPlayer({ element: document.querySelector("video"), room: "demo" });
 *     player.on("state", ({ name, edge }) => …);
 *     player.on("danmaku", ({ entry, history }) => …);
 *     player.say("hello");
 *     player.close();
 *
 * It joins the room at this page's edge, waits for a host, and keeps the picture moving: when its edge dies it goes on
 * at the next of the edges that the join reply named, with the last frame on screen until the new picture has come.
 * It never touches the page beyond `element`, and never unmutes by itself.
 */
import { Backoff } from "../wire/backoff";
import { edgeAnswers, joinRoom } from "../wire/join";
import type { EdgeAddress, RoomEntry } from "../wire/messages";
import { ProblemError } from "../wire/problem";
import { DanmakuSchedule } from "./danmaku-schedule";
import { EdgeRing } from "./edge-ring";
import { Emitter } from "./emitter";
import { MediaClock } from "./media-clock";
import { RoomSession } from "./room";
import { ViewSession, type ViewStats } from "./view-session";
import { isHopeful, type MoveReason, ViewingJudge } from "./viewing-judge";

export interface PlayerOptions {
  readonly element: HTMLVideoElement;
  readonly room: string;
  /** Edges to use, nearest first. Left out, the page's own edge is asked. */
  readonly edges?: readonly EdgeAddress[];
  readonly token?: string | undefined;
  /** Name beside this person's comments; empty lets the edge choose one. */
  readonly name?: string;
  /** Depth the jitter buffer aims at. */
  readonly bufferTargetMs?: number;
}

export type PlayerState =
  | { readonly name: "joining" }
  /** Connected; the room has no host yet. */
  | { readonly name: "waiting"; readonly edge: EdgeAddress }
  | { readonly name: "connecting"; readonly edge: EdgeAddress }
  | { readonly name: "playing"; readonly edge: EdgeAddress }
  /** The last edge was left; the picture stands until the next one delivers. */
  | { readonly name: "moving"; readonly edge: EdgeAddress; readonly reason: MoveReason | "unreachable" }
  /** Refused for a reason that no other edge would judge differently. */
  | { readonly name: "refused"; readonly reason: string; readonly detail: string }
  | { readonly name: "closed" };

export interface PlayerStats extends ViewStats {
  readonly edge: EdgeAddress;
  /** Share of packets lost on the way from the edge in the last seconds, 0–1. */
  readonly lossRatio: number;
  readonly bitrateBps: number;
  /** Mean time a frame spent in the jitter buffer in the last seconds. */
  readonly bufferMs: number | null;
  /** How far the picture is behind the host's clock; null when the two clocks cannot be compared. */
  readonly behindMs: number | null;
  readonly moves: number;
}

export interface PlayerDanmaku {
  readonly entry: RoomEntry;
  readonly own: boolean;
  /** Said before this page came. */
  readonly history: boolean;
}

export interface PlayerEvents {
  state: PlayerState;
  stats: PlayerStats;
  live: { readonly live: boolean };
  /** The edges in the order they would be used, the current one first. */
  edges: readonly EdgeAddress[];
  presence: { readonly count: number };
  /** A comment whose frame is on screen now. */
  danmaku: PlayerDanmaku;
  rejected: { readonly id: string; readonly detail: string };
  /** The room's socket is open: comments reach the room. */
  room: { readonly open: boolean; readonly name: string };
  /** The browser refused to start playback without a gesture: call `player.play()` from one. */
  blocked: undefined;
}

/**
 * A trunk loss is repaired one trunk round trip later (160 ms between Singapore and Frankfurt, plus the gap that shows
 * it). A buffer of that depth hides the repair; a shallower one turns each into a freeze.
 */
const BUFFER_TARGET_MS = 200;
const SAMPLE_EVERY_MS = 200;
const STATS_EVERY_MS = 1_000;
/** An edge that does not answer a small GET in this time does not carry live video either. */
const ANSWER_TIMEOUT_MS = 600;
/** POST to answer is one round trip and some parsing. */
const OFFER_TIMEOUT_MS = 2_500;
/** Beyond this the two clocks are not set the same, and the difference means nothing. */
const BEHIND_MAX_MS = 20_000;
/** Own comments still on their way at once; the room's rate limit keeps the real number far lower. */
const OWN_MAX = 64;
/** The host has left when the room says so and no frame has come for this long. */
const STILL_AFTER_MS = 1_000;

export function createPlayer(options: PlayerOptions): Player {
  return new Player(options);
}

export class Player extends Emitter<PlayerEvents> {
  readonly #options: PlayerOptions;
  readonly #abort = new AbortController();
  readonly #roomSession: RoomSession;
  readonly #clock = new MediaClock();
  readonly #schedule = new DanmakuSchedule();
  readonly #backoff = new Backoff({ firstMs: 250, maxMs: 5_000, jitterRatio: 0.4 });
  #ring: EdgeRing | null = null;
  #state: PlayerState = { name: "joining" };
  #live = false;
  #showing: ViewSession | null = null;
  #moves = 0;
  #hopefulMoveAt = Number.NEGATIVE_INFINITY;
  #leaveNow = false;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #name: string;
  /** Ids of comments already shown here; the room's copy of them is not shown again. */
  readonly #own = new Set<string>();

  constructor(options: PlayerOptions) {
    super();
    this.#options = options;
    this.#name = options.name ?? "";
    this.#roomSession = new RoomSession({ room: options.room, name: options.name ?? "", token: options.token });
    this.#listenToRoom();
    this.#ticker = setInterval(() => this.#showDue(), 50);
    void this.#run();
  }

  get state(): PlayerState {
    return this.#state;
  }

  get live(): boolean {
    return this.#live;
  }

  /** Unix milliseconds, on the host's clock, of the frame on screen. */
  get mediaTimeMs(): number | null {
    return this.#clock.at(performance.now());
  }

  /** Starts playback; call it from a click after `blocked`. */
  async play(): Promise<void> {
    try {
      await this.#options.element.play();
    } catch {
      this.emit("blocked", undefined);
    }
  }

  /** Says a comment at the frame on screen. Shown here at once; the room gets it through the edge. */
  say(text: string, color?: string): string {
    const mediaTimeMs = this.mediaTimeMs;
    const id = this.#roomSession.say(text, color, mediaTimeMs);
    this.#own.add(id);
    if (this.#own.size > OWN_MAX) this.#own.delete([...this.#own][0] ?? "");
    const entry: RoomEntry = {
      epoch: 0,
      offset: 0,
      id,
      person: this.#roomSession.person ?? "",
      name: this.#name,
      text,
      media_time_ms: mediaTimeMs ?? 0,
      unix_ms: Date.now(),
      ...(color === undefined ? {} : { color }),
    };
    this.emit("danmaku", { entry, own: true, history: false });
    return id;
  }

  rename(name: string): void {
    this.#roomSession.rename(name);
  }

  close(): void {
    this.#abort.abort();
    clearInterval(this.#ticker);
    this.#roomSession.close();
    this.#showing?.close();
    this.#showing = null;
    this.#options.element.srcObject = null;
    this.#setState({ name: "closed" });
    this.clear();
  }

  /** Joins, then views at one edge after the other until closed or refused. */
  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      const ring = this.#ring ?? (await this.#join());
      if (ring === null) return;
      let reason: MoveReason | "unreachable";
      try {
        reason = await this.#viewAt(ring);
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        if (error instanceof ProblemError && error.isOurs) return this.#refuse(error);
        reason = "unreachable";
      }
      if (this.#abort.signal.aborted) return;
      this.#moves += 1;
      const now = performance.now() / 1_000;
      const edge = ring.moveOn(now);
      this.#setState({ name: "moving", edge, reason });
      // The room's socket goes along at once, so that comments and `live` come from where the picture will.
      this.#roomSession.connect(edge);
      if (reason === "unreachable" && ring.exhausted(now)) await sleep(this.#backoff.next(), this.#abort.signal);
    }
  }

  async #join(): Promise<EdgeRing | null> {
    if (this.#options.edges !== undefined) return this.#begin(this.#options.edges, false);
    while (!this.#abort.signal.aborted) {
      try {
        const join = await joinRoom(location.origin, this.#options.room, this.#abort.signal);
        this.#backoff.reset();
        return this.#begin(join.edges, join.live);
      } catch (error) {
        if (this.#abort.signal.aborted) return null;
        if (error instanceof ProblemError && error.isOurs) {
          this.#refuse(error);
          return null;
        }
        await sleep(this.#backoff.next(), this.#abort.signal);
      }
    }
    return null;
  }

  #begin(edges: readonly EdgeAddress[], live: boolean): EdgeRing {
    const ring = new EdgeRing(edges);
    this.#ring = ring;
    this.emit("edges", ring.edges);
    this.#setLive(live);
    this.#roomSession.connect(ring.current);
    return ring;
  }

  /** Views at the ring's current edge; resolves with the reason to leave it. */
  async #viewAt(ring: EdgeRing): Promise<MoveReason> {
    const edge = ring.current;
    if (this.#state.name !== "moving") this.#setState({ name: "connecting", edge });
    const view = await ViewSession.open({
      edgeUrl: edge.url,
      room: this.#options.room,
      token: this.#options.token,
      bufferTargetMs: this.#options.bufferTargetMs ?? BUFFER_TARGET_MS,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(OFFER_TIMEOUT_MS)]),
    });
    try {
      return await this.#watch(view, edge, ring);
    } finally {
      // The view on screen stays there, standing still, until its successor has a frame.
      if (view !== this.#showing) view.close();
    }
  }

  async #watch(view: ViewSession, edge: EdgeAddress, ring: EdgeRing): Promise<MoveReason> {
    const judge = new ViewingJudge(performance.now() / 1_000, this.#hopefulMoveAt);
    const window = new StatsWindow();
    let reportedAt = Number.NEGATIVE_INFINITY;
    let frames = 0;
    let grewAtMs = Number.NEGATIVE_INFINITY;
    this.#leaveNow = false;
    for (;;) {
      await sleep(SAMPLE_EVERY_MS, this.#abort.signal);
      this.#abort.signal.throwIfAborted();
      const stats = await view.stats();
      const nowMs = performance.now();
      if (stats.framesDecoded > 0) {
        this.#show(view);
        this.#clock.handleSample(stats.playoutTimestamp, nowMs);
      }
      window.push(nowMs, stats);
      if (stats.framesDecoded > frames) grewAtMs = nowMs;
      frames = stats.framesDecoded;
      this.#followProgress(view, edge, ring, nowMs - grewAtMs < STILL_AFTER_MS);
      if (nowMs - reportedAt >= STATS_EVERY_MS) {
        reportedAt = nowMs;
        this.emit("stats", { ...stats, ...window.rates(), edge, behindMs: this.#behindMs(nowMs), moves: this.#moves });
      }
      if (this.#leaveNow) return "edge_gone";
      const verdict = judge.handleSample(
        {
          connection: view.connection,
          packets: stats.packets,
          framesDecoded: stats.framesDecoded,
          socketOpen: this.#roomSession.open,
          live: this.#live,
        },
        nowMs / 1_000,
      );
      if (verdict.kind === "ask") judge.handleAnswer(await edgeAnswers(edge.url, ANSWER_TIMEOUT_MS));
      if (verdict.kind === "move") {
        if (isHopeful(verdict.reason)) this.#hopefulMoveAt = nowMs / 1_000;
        return verdict.reason;
      }
    }
  }

  /** Puts a view on screen and ends the one it replaces. */
  #show(view: ViewSession): void {
    if (this.#showing === view) return;
    const before = this.#showing;
    this.#showing = view;
    this.#clock.reset();
    this.#options.element.srcObject = view.stream;
    before?.close();
    void this.play();
  }

  #followProgress(view: ViewSession, edge: EdgeAddress, ring: EdgeRing, moving: boolean): void {
    if (view.connection !== "connected") return;
    if (moving) {
      if (this.#state.name === "playing") return;
      ring.markGood();
      this.#backoff.reset();
      this.#setState({ name: "playing", edge });
    } else if (!this.#live && this.#state.name !== "waiting") {
      this.#setState({ name: "waiting", edge });
    }
  }

  #behindMs(nowMs: number): number | null {
    const mediaTimeMs = this.#clock.at(nowMs);
    if (mediaTimeMs === null) return null;
    const behindMs = Date.now() - mediaTimeMs;
    return behindMs >= 0 && behindMs < BEHIND_MAX_MS ? behindMs : null;
  }

  #listenToRoom(): void {
    const room = this.#roomSession;
    room.on("welcome", (welcome) => {
      this.#name = welcome.name;
      this.#ring?.apply(welcome.edges);
      if (this.#ring !== null) this.emit("edges", this.#ring.edges);
      this.#setLive(welcome.live);
      this.emit("room", { open: true, name: this.#name });
    });
    room.on("open", (open) => this.emit("room", { open, name: this.#name }));
    room.on("live", ({ live }) => this.#setLive(live));
    room.on("presence", (presence) => this.emit("presence", presence));
    room.on("rejected", (rejected) => this.emit("rejected", rejected));
    room.on("goodbye", ({ retry, reason }) => {
      // A draining edge says so before it goes; leaving while it still serves costs no frame.
      if (retry && reason === "shutting_down") this.#leaveNow = true;
    });
    room.on("entries", ({ entries, history }) => {
      for (const entry of entries) {
        if (this.#own.has(entry.id)) continue;
        if (history) this.#emitDanmaku(entry, true);
        else for (const due of this.#schedule.handleEntry(entry, this.mediaTimeMs)) this.#emitDanmaku(due, false);
      }
    });
  }

  #showDue(): void {
    for (const entry of this.#schedule.handleTime(this.mediaTimeMs)) this.#emitDanmaku(entry, false);
  }

  #emitDanmaku(entry: RoomEntry, history: boolean): void {
    this.emit("danmaku", { entry, own: entry.person === this.#roomSession.person, history });
  }

  #refuse(error: ProblemError): void {
    this.#setState({ name: "refused", reason: error.problem.reason, detail: error.message });
  }

  #setLive(live: boolean): void {
    if (this.#live === live) return;
    this.#live = live;
    this.emit("live", { live });
  }

  #setState(state: PlayerState): void {
    this.#state = state;
    this.emit("state", state);
  }
}

/** The last seconds of counters, for rates that follow what happens now. */
export class StatsWindow {
  static readonly #SPAN_MS = 4_000;
  readonly #samples: { atMs: number; stats: ViewStats }[] = [];

  push(atMs: number, stats: ViewStats): void {
    this.#samples.push({ atMs, stats });
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? atMs) > StatsWindow.#SPAN_MS) {
      this.#samples.shift();
    }
  }

  rates(): { readonly lossRatio: number; readonly bitrateBps: number; readonly bufferMs: number | null } {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) {
      return { lossRatio: 0, bitrateBps: 0, bufferMs: null };
    }
    const lost = Math.max(0, last.stats.packetsLost - first.stats.packetsLost);
    const received = last.stats.packets - first.stats.packets;
    const frames = last.stats.jitterBufferFrames - first.stats.jitterBufferFrames;
    return {
      lossRatio: lost + received > 0 ? lost / (lost + received) : 0,
      bitrateBps: ((last.stats.bytes - first.stats.bytes) * 8_000) / (last.atMs - first.atMs),
      bufferMs: frames > 0 ? ((last.stats.jitterBufferS - first.stats.jitterBufferS) / frames) * 1_000 : null,
    };
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}
