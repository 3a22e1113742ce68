/**
 * Decides when a player leaves its edge. Pure: samples and answers in, a verdict out.
 *
 * A dead edge and a host who paused look alike from the media alone: packets stop. What tells them apart is the edge
 * itself, so silence first leads to a question to the edge, and only a dead edge, or one that stays silent although
 * the room is live, is left. The edges repair routes among themselves within a second; leaving sooner would only add
 * a second disturbance.
 */
import type { ConnectionState } from "./peer-session";

export interface ViewingSample {
  readonly connection: ConnectionState;
  /** Media packets received since the session began, audio and video. */
  readonly packets: number;
  /** What moves when the person sees or hears something: frames, or packets where there is only sound. */
  readonly framesDecoded: number;
  /** Whether the room's socket to the same edge is open. A killed process closes it at once. */
  readonly socketOpen: boolean;
  readonly live: boolean;
}

export type MoveReason =
  | "ice_failed"
  | "connect_timeout"
  | "edge_gone"
  | "edge_silent"
  | "stream_stalled"
  | "not_decoding";

export type Verdict =
  | { readonly kind: "stay" }
  | { readonly kind: "ask" }
  | { readonly kind: "move"; readonly reason: MoveReason };

/** ICE and DTLS need three round trips: 1 s even across the planet, and five times that on a bad day. */
const CONNECT_TIMEOUT_S = 5;
/** Longer than any pause between packets while the socket is already lost. */
const GONE_AFTER_S = 0.3;
/** Opus sends every 20 ms and video every 33 ms; a 400 ms pause is no jitter. */
const ASK_AFTER_S = 0.4;
const ASK_AGAIN_S = 1;
/** Fail-over between edges takes at most 1 s, a new subscription another; then another edge is worth a try. */
const STALLED_AFTER_S = 4;
/** A host that ignores key-frame requests (FFmpeg) is waited for, and its key frames may be 10 s apart. */
const FIRST_PACKET_AFTER_S = 12;
const NOT_DECODING_AFTER_S = 12;
/** Moves that only hope for better are kept this far apart. */
const HOPEFUL_DWELL_S = 10;
/** A hidden page samples once a second at worst; a longer gap means that the device slept. */
const SLEPT_S = 3;

export class ViewingJudge {
  #startedAt: number;
  readonly #lastHopefulMoveAt: number;
  #packets = 0;
  #frames = 0;
  #lastReceivedAt = Number.NEGATIVE_INFINITY;
  #lastPacketAt: number;
  #lastFrameAt: number;
  #askedAt = Number.NEGATIVE_INFINITY;
  #hadSocket = false;
  #connectedAt: number | null = null;
  #dead = false;
  #sampledAt: number;

  constructor(now: number, lastHopefulMoveAt = Number.NEGATIVE_INFINITY) {
    this.#startedAt = now;
    this.#sampledAt = now;
    this.#lastPacketAt = now;
    this.#lastFrameAt = now;
    this.#lastHopefulMoveAt = lastHopefulMoveAt;
  }

  handleSample(sample: ViewingSample, now: number): Verdict {
    const sleptS = now - this.#sampledAt;
    this.#sampledAt = now;
    if (sleptS > SLEPT_S) this.#skip(sleptS);
    if (sample.packets > this.#packets) this.#lastReceivedAt = now;
    // While nothing is owed, the time for owing it has not begun.
    if (sample.packets > this.#packets || !sample.live) this.#lastPacketAt = now;
    if (sample.framesDecoded > this.#frames || !sample.live) this.#lastFrameAt = now;
    const silentS = now - this.#lastReceivedAt;
    this.#packets = sample.packets;
    this.#frames = sample.framesDecoded;
    if (sample.socketOpen) this.#hadSocket = true;
    if (sample.connection === "connected" && this.#connectedAt === null) {
      this.#connectedAt = now;
      this.#lastPacketAt = now;
      this.#lastFrameAt = now;
    }

    if (this.#dead) return move("edge_silent");
    if (sample.connection === "failed" || sample.connection === "closed") return move("ice_failed");
    if (this.#connectedAt === null) {
      return now - this.#startedAt > CONNECT_TIMEOUT_S ? move("connect_timeout") : { kind: "stay" };
    }
    if (this.#hadSocket && !sample.socketOpen && silentS > GONE_AFTER_S) return this.#gone(sample, now);
    if (sample.connection === "disconnected" && silentS > ASK_AFTER_S) return this.#ask(now);
    if (!sample.live) return { kind: "stay" };

    if (now - this.#lastPacketAt > ASK_AFTER_S) {
      const patienceS = this.#packets === 0 ? FIRST_PACKET_AFTER_S : STALLED_AFTER_S;
      if (now - this.#lastPacketAt > patienceS && this.#mayHope(now)) return move("stream_stalled");
      return this.#ask(now);
    }
    if (now - this.#lastFrameAt > NOT_DECODING_AFTER_S && this.#mayHope(now)) return move("not_decoding");
    return { kind: "stay" };
  }

  /** Nothing was seen while the device slept, and nothing is held against the edge for that time. */
  #skip(sleptS: number): void {
    this.#startedAt += sleptS;
    this.#lastReceivedAt += sleptS;
    this.#lastPacketAt += sleptS;
    this.#lastFrameAt += sleptS;
  }

  /** The edge's answer to the question that an `ask` verdict made the player put. */
  handleAnswer(answered: boolean): void {
    if (!answered) this.#dead = true;
  }

  /** The socket is gone and nothing arrives. While live that is a dead edge; before a host it may be the socket alone. */
  #gone(sample: ViewingSample, now: number): Verdict {
    return sample.live ? move("edge_gone") : this.#ask(now);
  }

  #ask(now: number): Verdict {
    if (now - this.#askedAt < ASK_AGAIN_S) return { kind: "stay" };
    this.#askedAt = now;
    return { kind: "ask" };
  }

  #mayHope(now: number): boolean {
    return now - this.#lastHopefulMoveAt > HOPEFUL_DWELL_S;
  }
}

/** Moves made because an edge is dead, against those that hope another edge does better. */
export function isHopeful(reason: MoveReason): boolean {
  return reason === "stream_stalled" || reason === "not_decoding";
}

function move(reason: MoveReason): Verdict {
  return { kind: "move", reason };
}
