/**
 * The publisher library, what the studio page stands on.
 *
 *     const publisher = createPublisher({ room: "demo", stream, settings });
 *     publisher.on("state", …); publisher.on("health", …);
 *     await publisher.stop();
 *
 * It sends one stream to the nearest edge and comes back at the next one when that edge dies. Another host who starts
 * in the same room takes over; this publisher then stops instead of fighting for the room.
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
const ANSWER_TIMEOUT_MS = 800;

type Ending = "edge_lost" | "replaced";

export function createPublisher(options: PublisherOptions): Publisher {
  return new Publisher(options);
}

export class Publisher extends Emitter<PublisherEvents> {
  readonly #options: PublisherOptions;
  readonly #abort = new AbortController();
  readonly #takeover = new Takeover();
  readonly #backoff = new Backoff({ firstMs: 300, maxMs: 5_000, jitterRatio: 0.3 });
  #stream: MediaStream;
  #session: PublishSession | null = null;
  #state: PublisherState = { name: "starting" };

  constructor(options: PublisherOptions) {
    super();
    this.#options = options;
    this.#stream = options.stream;
    void this.#run();
  }

  get state(): PublisherState {
    return this.#state;
  }

  /** The room said which source it shows now; a later one than ours means that another host took over. */
  noteIncarnation(incarnation: number): void {
    this.#takeover.handleIncarnation(incarnation, performance.now() / 1_000);
  }

  /** Sends another stream from now on; false when its kinds of tracks differ and a new start is needed. */
  async replaceStream(stream: MediaStream): Promise<boolean> {
    this.#stream = stream;
    return (await this.#session?.replaceStream(stream)) ?? true;
  }

  stop(): void {
    this.#abort.abort();
    this.#session?.close();
    this.#session = null;
    if (this.#state.name !== "replaced" && this.#state.name !== "refused") this.#setState({ name: "stopped" });
    this.clear();
  }

  async #run(): Promise<void> {
    let ring: EdgeRing | null = null;
    while (!this.#abort.signal.aborted) {
      try {
        ring ??= new EdgeRing(this.#options.edges ?? (await this.#joinEdges()));
        const ending = await this.#publishAt(ring);
        if (ending === "replaced") return this.#end({ name: "replaced" });
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        if (error instanceof ProblemError && error.isOurs) {
          return this.#end({ name: "refused", reason: error.problem.reason, detail: error.message });
        }
      }
      if (this.#abort.signal.aborted) return;
      if (ring !== null) {
        const edge = ring.moveOn(performance.now() / 1_000);
        if (this.#state.name !== "starting") this.#setState({ name: "reconnecting", edge });
      }
      await new Promise((resolve) => setTimeout(resolve, this.#backoff.next()));
    }
  }

  async #joinEdges(): Promise<readonly EdgeAddress[]> {
    return (await joinRoom(location.origin, this.#options.room, this.#abort.signal)).edges;
  }

  async #publishAt(ring: EdgeRing): Promise<Ending> {
    const edge = ring.current;
    const session = await PublishSession.open({
      edgeUrl: edge.url,
      room: this.#options.room,
      token: this.#options.token,
      stream: this.#stream,
      settings: this.#options.settings,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(OFFER_TIMEOUT_MS)]),
    });
    this.#session = session;
    try {
      return await this.#watch(session, edge, ring);
    } finally {
      this.#session = null;
      session.close();
    }
  }

  async #watch(session: PublishSession, edge: EdgeAddress, ring: EdgeRing): Promise<Ending> {
    const monitor = new HealthMonitor(this.#options.settings.framesPerSecond);
    const startedAtMs = performance.now();
    let connectedAtMs: number | null = null;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_EVERY_MS));
      this.#abort.signal.throwIfAborted();
      const nowMs = performance.now();
      const { connection } = session;
      if (connection === "connected") {
        connectedAtMs = nowMs;
        if (this.#state.name !== "live") {
          ring.markGood();
          this.#backoff.reset();
          this.#takeover.handleLive(nowMs / 1_000);
          this.#setState({ name: "live", edge });
        }
        this.emit("health", monitor.handleSample(await session.sample(), nowMs));
      } else if (connection === "failed" || connection === "closed") {
        return this.#takeover.handleEnd();
      } else if (connectedAtMs === null) {
        if (nowMs - startedAtMs > CONNECT_TIMEOUT_MS) return "edge_lost";
      } else if (nowMs - connectedAtMs > DISCONNECTED_MAX_MS || !(await edgeAnswers(edge.url, ANSWER_TIMEOUT_MS))) {
        return this.#takeover.handleEnd();
      }
    }
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
