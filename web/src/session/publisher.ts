/**
 * The publisher library, what the studio page stands on.
 *
 *     const publisher = createPublisher({ room: "demo", stream, settings });
 *     publisher.on("state", …); publisher.on("health", …);
 *     publisher.stop();
 *
 * It sends one stream to the nearest edge and comes back at the next one when that edge dies, or at the same one when
 * only its own network failed. Another host who starts in the same room takes over; this publisher then stops instead
 * of fighting for the room.
 */
import { Backoff } from "../wire/backoff";
import { edgeAnswers, joinRoom } from "../wire/join";
import type { EdgeAddress } from "../wire/messages";
import { ProblemError } from "../wire/problem";
import { EdgeRing } from "./edge-ring";
import { Emitter } from "./emitter";
import { HealthMonitor, type PublishHealth } from "./publish-health";
import { PublishSession, type PublishSettings } from "./publish-session";
import { Takeover } from "./takeover";
import { onReturn, Pause, sleep } from "./timing";

export interface PublisherOptions {
  readonly room: string;
  readonly stream: MediaStream;
  readonly settings: PublishSettings;
  readonly edges?: readonly EdgeAddress[];
  readonly token?: string | undefined;
}

export type PublisherState =
  | { readonly name: "starting" }
  | { readonly name: "live"; readonly edge: EdgeAddress }
  | { readonly name: "reconnecting"; readonly edge: EdgeAddress }
  /** No edge could be reached in this round; the next one begins after `retryInMs`. */
  | { readonly name: "unreachable"; readonly retryInMs: number }
  | { readonly name: "replaced" }
  | { readonly name: "refused"; readonly reason: string; readonly detail: string }
  | { readonly name: "stopped" };

export interface PublisherEvents {
  state: PublisherState;
  health: PublishHealth;
}

const SAMPLE_EVERY_MS = 500;
const OFFER_TIMEOUT_MS = 4_000;
const CONNECT_TIMEOUT_MS = 6_000;
/** ICE leaves "disconnected" by itself after a short outage of the access link. */
const DISCONNECTED_MAX_MS = 2_500;
const ANSWER_TIMEOUT_MS = 1_500;

type Ending = "edge_lost" | "network_lost" | "replaced";

export function createPublisher(options: PublisherOptions): Publisher {
  return new Publisher(options);
}

export class Publisher extends Emitter<PublisherEvents> {
  readonly #options: PublisherOptions;
  readonly #abort = new AbortController();
  readonly #takeover = new Takeover();
  readonly #backoff = new Backoff({ firstMs: 300, maxMs: 5_000, jitterRatio: 0.3 });
  readonly #pause = new Pause();
  #stream: MediaStream;
  #settings: PublishSettings;
  #session: PublishSession | null = null;
  #suspect = false;
  #incarnation: number | null = null;
  #state: PublisherState = { name: "starting" };

  constructor(options: PublisherOptions) {
    super();
    if (options.edges?.length === 0) throw new TypeError("edges is empty: leave it out to ask the page's own edge");
    this.#options = options;
    this.#stream = options.stream;
    this.#settings = options.settings;
    onReturn(() => this.#pause.wake(), this.#abort.signal);
    this.#run().catch(reportError);
  }

  get state(): PublisherState {
    return this.#state;
  }

  /** Number of this host's newest publication, where the edge told it: tells the room's own echo from another host. */
  get incarnation(): number | null {
    return this.#incarnation;
  }

  /** The room said which source it shows now; a later one than ours means that another host took over. */
  noteIncarnation(incarnation: number): void {
    this.#takeover.handleIncarnation(incarnation, performance.now() / 1_000);
  }

  /** Another connection to the same edge broke: ask the edge now instead of waiting for ICE to give up. */
  suspectEdge(): void {
    this.#suspect = true;
  }

  /** Sends another stream from now on; false when its kinds of tracks differ and a new start is needed. */
  async replaceStream(stream: MediaStream): Promise<boolean> {
    this.#stream = stream;
    return (await this.#session?.replaceStream(stream)) ?? true;
  }

  /** Another bitrate from now on; the codec stays that of the start. */
  async applySettings(settings: PublishSettings): Promise<void> {
    this.#settings = settings;
    await this.#session?.applySettings(settings);
  }

  stop(): void {
    this.#abort.abort();
    this.#session?.close();
    this.#session = null;
    if (this.#state.name !== "replaced" && this.#state.name !== "refused") this.#setState({ name: "stopped" });
    this.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let ring: EdgeRing | null = null;
    while (!signal.aborted) {
      let ending: Ending = "edge_lost";
      try {
        ring ??= new EdgeRing(this.#options.edges ?? (await this.#joinEdges()));
        ending = await this.#publishAt(ring);
      } catch (error) {
        if (!signal.aborted && error instanceof ProblemError && error.isOurs) {
          return this.#end({ name: "refused", reason: error.problem.reason, detail: error.message });
        }
      }
      if (signal.aborted) return;
      if (ending === "replaced") return this.#end({ name: "replaced" });
      await this.#prepareNext(ring, ending);
    }
  }

  /** Chooses where to go on, says so, and waits; longer each time, so that a lost region does not come as one wave. */
  async #prepareNext(ring: EdgeRing | null, ending: Ending): Promise<void> {
    const now = performance.now() / 1_000;
    const stays = ending === "network_lost" && ring !== null && (await this.#answers(ring.current));
    if (ring !== null && !stays) ring.moveOn(now);
    const retryInMs = this.#backoff.next();
    if (this.#abort.signal.aborted) return;
    if (ring === null || ring.exhausted(now)) this.#setState({ name: "unreachable", retryInMs });
    else if (this.#state.name === "live") this.#setState({ name: "reconnecting", edge: ring.current });
    await this.#pause.wait(retryInMs, this.#abort.signal);
  }

  async #joinEdges(): Promise<readonly EdgeAddress[]> {
    return (await joinRoom(location.origin, this.#options.room, this.#abort.signal)).edges;
  }

  async #publishAt(ring: EdgeRing): Promise<Ending> {
    const edge = ring.current;
    const stream = this.#stream;
    const session = await PublishSession.open({
      edgeUrl: edge.url,
      room: this.#options.room,
      token: this.#options.token,
      stream,
      settings: this.#settings,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(OFFER_TIMEOUT_MS)]),
    });
    this.#session = session;
    this.#incarnation = session.incarnation;
    try {
      // Another source was chosen while the offer was on its way.
      if (stream !== this.#stream) await session.replaceStream(this.#stream);
      return await this.#watch(session, edge, ring);
    } finally {
      this.#session = null;
      session.close();
    }
  }

  async #watch(session: PublishSession, edge: EdgeAddress, ring: EdgeRing): Promise<Ending> {
    const monitor = new HealthMonitor(() => this.#settings.framesPerSecond);
    const startedAtMs = performance.now();
    let connectedAtMs: number | null = null;
    this.#suspect = false;
    for (;;) {
      await sleep(SAMPLE_EVERY_MS, this.#abort.signal);
      this.#abort.signal.throwIfAborted();
      const nowMs = performance.now();
      const { connection } = session;
      if (connection === "connected") {
        if (connectedAtMs === null) this.#goLive(session, edge, ring, nowMs);
        connectedAtMs = nowMs;
        if (this.#takeover.isReplaced(nowMs / 1_000)) return "replaced";
        this.emit("health", monitor.handleSample(await session.sample(), nowMs));
        if (this.#suspect && !(await this.#answers(edge))) return this.#endOf("edge_lost");
        this.#suspect = false;
      } else if (connection === "failed" || connection === "closed") {
        return this.#endOf(connectedAtMs === null ? "edge_lost" : "network_lost");
      } else if (connectedAtMs === null) {
        if (nowMs - startedAtMs > CONNECT_TIMEOUT_MS) return "edge_lost";
      } else if (nowMs - connectedAtMs > DISCONNECTED_MAX_MS) {
        return this.#endOf("network_lost");
      } else if (!(await this.#answers(edge))) {
        return this.#endOf("edge_lost");
      }
    }
  }

  #goLive(session: PublishSession, edge: EdgeAddress, ring: EdgeRing, nowMs: number): void {
    ring.markGood();
    this.#backoff.reset();
    this.#takeover.handleLive(nowMs / 1_000, session.incarnation);
    this.#setState({ name: "live", edge });
  }

  #endOf(ending: Ending): Ending {
    return this.#takeover.handleEnd() === "replaced" ? "replaced" : ending;
  }

  #answers(edge: EdgeAddress): Promise<boolean> {
    return edgeAnswers(edge.url, ANSWER_TIMEOUT_MS);
  }

  #end(state: PublisherState): void {
    this.#setState(state);
    this.#abort.abort();
  }

  #setState(state: PublisherState): void {
    this.#state = state;
    this.emit("state", state);
  }
}
