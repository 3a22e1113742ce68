/**
 * The player library.
 *
 *     const player = createPlayer({ element: document.querySelector("video"), room: "demo" });
 *     player.on("state", ({ name, edge }) => …);
 *     player.on("danmaku", ({ entry, history }) => …);
 *     player.on("blocked", ({ needs }) => …);      // the browser wants a click for sound, or to play at all
 *     player.say("hello");
 *     player.close();
 *
 * It joins the room at this page's edge, waits for a host, and keeps the picture moving: when its edge dies it goes on
 * at the next of the edges that the join reply named, with the last frame on screen until the new picture has come.
 * When only its own network failed it goes on at the same edge. It never touches the page beyond `element`; it mutes
 * where the browser refuses sound, and never unmutes by itself.
 */
import { Backoff } from "../wire/backoff";
import { edgeAnswers, joinRoom } from "../wire/join";
import type { EdgeAddress, RoomEntry } from "../wire/messages";
import { type Problem, ProblemError } from "../wire/problem";
import { DanmakuSchedule } from "./danmaku-schedule";
import { EdgeRing } from "./edge-ring";
import { Emitter } from "./emitter";
import { MediaClock } from "./media-clock";
import { startPlayback } from "./playback";
import type { PlayerEvents, PlayerOptions, PlayerState } from "./player-types";
import { Progress } from "./progress";
import { RoomSession } from "./room";
import { onReturn, Pause, sleep } from "./timing";
import { StatsWindow } from "./view-rates";
import { ViewSession } from "./view-session";
import { isHopeful, type MoveReason, ViewingJudge } from "./viewing-judge";

export type { PlayerDanmaku, PlayerEvents, PlayerOptions, PlayerState, PlayerStats } from "./player-types";

/**
 * A trunk loss is repaired one trunk round trip later (160 ms between Singapore and Frankfurt, plus the gap that shows
 * it). A buffer of that depth hides the repair; a shallower one turns each into a freeze.
 */
const BUFFER_TARGET_MS = 200;
const SAMPLE_EVERY_MS = 200;
const STATS_EVERY_MS = 1_000;
/**
 * An edge that does not answer a small GET in this time does not carry live video either. A new connection needs two
 * round trips, over TLS three, so a far edge gets four.
 */
const ANSWER_MIN_MS = 600;
const ANSWER_MAX_MS = 2_000;
const ANSWER_ROUND_TRIPS = 4;
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
  readonly #pause = new Pause();
  #ring: EdgeRing | null = null;
  #state: PlayerState = { name: "joining" };
  #live = false;
  #showing: ViewSession | null = null;
  #moves = 0;
  #hopefulMoveAt = Number.NEGATIVE_INFINITY;
  #leaveNow = false;
  /** The present session has been connected: should it fail now, this page's own network is a suspect. */
  #wasConnected = false;
  #roomEnded: string | null = null;
  readonly #ticker: ReturnType<typeof setInterval>;
  #name: string;
  /** Ids of comments already shown here; the room's copy of them is not shown again. */
  readonly #own = new Set<string>();

  constructor(options: PlayerOptions) {
    super();
    if (options.edges?.length === 0) throw new TypeError("edges is empty: leave it out to ask the page's own edge");
    this.#options = options;
    this.#name = options.name ?? "";
    this.#roomSession = new RoomSession({ room: options.room, name: options.name ?? "", token: options.token });
    this.#listenToRoom();
    this.#ticker = setInterval(() => this.#showDue(), 50);
    onReturn(() => this.#handleReturn(), this.#abort.signal);
    // Not before the caller has had the time to listen.
    queueMicrotask(() => void this.#run().catch(reportError));
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
    const started = await startPlayback(this.#options.element);
    if (started === "muted") this.emit("blocked", { needs: "sound" });
    if (started === "refused") this.emit("blocked", { needs: "playback" });
  }

  /** Tries the edges again now instead of after the present wait. */
  retry(): void {
    this.#backoff.reset();
    this.#pause.wake();
    this.#roomSession.wake();
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
    const { signal } = this.#abort;
    const ring = await this.#join();
    while (ring !== null && !signal.aborted) {
      const reason = await this.#viewAt(ring).catch((error: unknown) => {
        if (!signal.aborted && error instanceof ProblemError && error.isOurs) this.#refuse(error.problem);
        return "unreachable" as const;
      });
      if (signal.aborted || this.#state.name === "refused") return;
      if (reason === "ice_failed" && (await this.#mayStay(ring.current))) continue;
      this.#moves += 1;
      const now = performance.now() / 1_000;
      const edge = ring.moveOn(now);
      // The room's socket goes along at once, so that comments and `live` come from where the picture will.
      this.#roomSession.connect(edge);
      if (ring.exhausted(now)) await this.#waitForRound();
      else if (this.#state.name !== "unreachable") this.#setState({ name: "moving", edge, reason });
    }
  }

  async #join(): Promise<EdgeRing | null> {
    const { signal } = this.#abort;
    if (signal.aborted) return null;
    if (this.#options.edges !== undefined) return this.#begin(this.#options.edges, false);
    while (!signal.aborted) {
      try {
        const join = await joinRoom(location.origin, this.#options.room, signal);
        this.#backoff.reset();
        if (!join.token_required || this.#options.token !== undefined) return this.#begin(join.edges, join.live);
        this.#refuse({ reason: "token_missing", detail: "This room is for invited people. Enter your access token." });
        return null;
      } catch (error) {
        if (signal.aborted) return null;
        if (error instanceof ProblemError && error.isOurs) {
          this.#refuse(error.problem);
          return null;
        }
        await this.#waitForRound();
      }
    }
    return null;
  }

  /** Every edge failed lately: time to wait before the next round, longer each time. */
  async #waitForRound(): Promise<void> {
    const retryInMs = this.#backoff.next();
    this.#setState({ name: "unreachable", retryInMs });
    await this.#pause.wait(retryInMs, this.#abort.signal);
  }

  /** A session that was connected failed although its edge answers: this page's network changed, not the edge. */
  async #mayStay(edge: EdgeAddress): Promise<boolean> {
    const stays = this.#wasConnected && (await edgeAnswers(edge.url, ANSWER_MAX_MS));
    if (stays) this.#setState({ name: "moving", edge, reason: "ice_failed" });
    return stays;
  }

  #handleReturn(): void {
    this.retry();
    // A phone pauses what plays in a pocket.
    if (this.#showing !== null && this.#options.element.paused) void this.play();
  }

  #begin(edges: readonly EdgeAddress[], live: boolean): EdgeRing {
    const ring = new EdgeRing(edges);
    this.#ring = ring;
    this.#tellEdges(ring);
    this.#setLive(live);
    this.#roomSession.connect(ring.current);
    return ring;
  }

  /** Views at the ring's current edge; resolves with the reason to leave it. */
  async #viewAt(ring: EdgeRing): Promise<MoveReason> {
    const edge = ring.current;
    this.#wasConnected = false;
    if (this.#state.name !== "moving" && this.#state.name !== "unreachable")
      this.#setState({ name: "connecting", edge });
    const view = await ViewSession.open({
      edgeUrl: edge.url,
      room: this.#options.room,
      token: this.#options.token,
      bufferTargetMs: this.#options.bufferTargetMs ?? BUFFER_TARGET_MS,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(OFFER_TIMEOUT_MS)]),
    });
    try {
      if (this.#state.name === "unreachable") this.#setState({ name: "connecting", edge });
      return await this.#watch(view, edge, ring);
    } finally {
      // The view on screen stays there, standing still, until its successor has a frame.
      if (view !== this.#showing) view.close();
    }
  }

  async #watch(view: ViewSession, edge: EdgeAddress, ring: EdgeRing): Promise<MoveReason> {
    const { signal } = this.#abort;
    const judge = new ViewingJudge(performance.now() / 1_000, this.#hopefulMoveAt);
    const window = new StatsWindow();
    const progress = new Progress();
    let reportedAtMs = Number.NEGATIVE_INFINITY;
    this.#leaveNow = false;
    for (;;) {
      await sleep(SAMPLE_EVERY_MS, signal);
      const stats = await view.stats();
      // Closed meanwhile: the element is no longer this player's to touch.
      signal.throwIfAborted();
      const nowMs = performance.now();
      const frames = progress.handleSample(stats, nowMs);
      if (frames > 0) {
        this.#show(view);
        this.#clock.handleSample(stats.playoutTimestamp, nowMs);
      }
      window.push(nowMs, stats);
      this.#wasConnected ||= view.connection === "connected";
      this.#followProgress(view, edge, ring, nowMs - progress.grewAtMs < STILL_AFTER_MS);
      if (nowMs - reportedAtMs >= STATS_EVERY_MS) {
        reportedAtMs = nowMs;
        this.emit("stats", { ...stats, ...window.rates(), edge, behindMs: this.#behindMs(nowMs), moves: this.#moves });
      }
      if (this.#leaveNow) return "edge_gone";
      const verdict = judge.handleSample(
        {
          connection: view.connection,
          packets: stats.packets,
          framesDecoded: frames,
          socketOpen: this.#roomSession.open,
          live: this.#live,
        },
        nowMs / 1_000,
      );
      if (verdict.kind === "ask") judge.handleAnswer(await edgeAnswers(edge.url, answerTimeoutMs(stats.rttMs)));
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

  #tellEdges(ring: EdgeRing): void {
    this.emit("edges", [ring.current, ...ring.next(performance.now() / 1_000)]);
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
      if (this.#ring !== null) this.#tellEdges(this.#ring);
      this.#setLive(welcome.live);
      this.#tellRoom(true);
    });
    room.on("open", (open) => this.#tellRoom(open));
    room.on("live", ({ live }) => this.#setLive(live));
    room.on("presence", (presence) => this.emit("presence", presence));
    room.on("accepted", (accepted) => this.emit("accepted", accepted));
    room.on("rejected", (rejected) => this.emit("rejected", rejected));
    room.on("missed", (missed) => this.emit("missed", missed));
    room.on("goodbye", ({ retry, reason }) => {
      // A draining edge says so before it goes; leaving while it still serves costs no frame.
      if (retry && reason === "shutting_down") this.#leaveNow = true;
      if (!retry) this.#roomEnded = reason;
    });
    room.on("entries", ({ entries, history }) => {
      for (const entry of entries) {
        if (this.#isOwn(entry) && this.#own.has(entry.id)) this.emit("accepted", { id: entry.id });
        else if (history) this.#emitDanmaku(entry, true);
        else for (const due of this.#schedule.handleEntry(entry, this.mediaTimeMs)) this.#emitDanmaku(due, false);
      }
    });
  }

  #tellRoom(open: boolean): void {
    this.emit("room", { open, name: this.#name, ended: this.#roomEnded });
  }

  /** Ids are only unique per person: somebody else's comment with the id of ours is not ours. */
  #isOwn(entry: RoomEntry): boolean {
    return entry.person === this.#roomSession.person;
  }

  #showDue(): void {
    for (const entry of this.#schedule.handleTime(this.mediaTimeMs)) this.#emitDanmaku(entry, false);
  }

  #emitDanmaku(entry: RoomEntry, history: boolean): void {
    this.emit("danmaku", { entry, own: this.#isOwn(entry), history });
  }

  #refuse({ reason, detail }: Pick<Problem, "reason" | "detail">): void {
    this.#setState({ name: "refused", reason, detail });
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

function answerTimeoutMs(rttMs: number | null): number {
  return Math.min(ANSWER_MAX_MS, Math.max(ANSWER_MIN_MS, ANSWER_ROUND_TRIPS * (rttMs ?? 0)));
}
