/** One WHEP session with one edge: a peer connection that only receives. Lives until closed; never reconnects. */
import { whepUrl } from "../wire/offer";
import { type ConnectionState, PeerSession } from "./peer-session";
import { counter, type StatsReport } from "./stats-report";

export interface ViewSessionOptions {
  readonly edgeUrl: string;
  readonly room: string;
  readonly token?: string | undefined;
  readonly bufferTargetMs: number;
  readonly signal: AbortSignal;
}

/** What the browser tells about the receiving side, counters since the session began. */
export interface ViewStats {
  readonly packets: number;
  readonly videoPackets: number;
  readonly packetsLost: number;
  readonly framesDecoded: number;
  readonly framesPerSecond: number;
  readonly width: number;
  readonly height: number;
  readonly bytes: number;
  readonly freezes: number;
  readonly freezeS: number;
  readonly jitterBufferS: number;
  readonly jitterBufferFrames: number;
  readonly rttMs: number | null;
  readonly playoutTimestamp: number | undefined;
  readonly videoCodec: string;
  readonly audioCodec: string;
}

export class ViewSession {
  readonly stream = new MediaStream();
  readonly #peer: PeerSession;

  private constructor(peer: PeerSession) {
    this.#peer = peer;
    for (const receiver of peer.connection.getReceivers()) this.stream.addTrack(receiver.track);
  }

  /** Offers to receive one video and one audio track. */
  static async open({ edgeUrl, room, token, bufferTargetMs, signal }: ViewSessionOptions): Promise<ViewSession> {
    const prepare = (connection: RTCPeerConnection) => {
      for (const kind of ["video", "audio"] as const) {
        const { receiver } = connection.addTransceiver(kind, { direction: "recvonly" });
        setBufferTarget(receiver, bufferTargetMs);
      }
    };
    return new ViewSession(await PeerSession.open({ url: whepUrl(edgeUrl, room), token, signal, prepare }));
  }

  get connection(): ConnectionState {
    return this.#peer.state;
  }

  async stats(): Promise<ViewStats> {
    return readViewStats(await this.#peer.stats());
  }

  /** Ends the session at the edge and here; a second call does nothing. */
  close(): void {
    this.#peer.close();
  }
}

function setBufferTarget(receiver: RTCRtpReceiver, milliseconds: number): void {
  // Not in Firefox and Safari yet; their jitter buffers then find their own depth.
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = milliseconds;
}

export function readViewStats(report: StatsReport): ViewStats {
  const video = report.rtp("inbound-rtp", "video");
  const audio = report.rtp("inbound-rtp", "audio");
  const playout = video?.["estimatedPlayoutTimestamp"] ?? audio?.["estimatedPlayoutTimestamp"];
  const sum = (key: string) => counter(video, key) + counter(audio, key);
  return {
    packets: sum("packetsReceived"),
    videoPackets: counter(video, "packetsReceived"),
    packetsLost: sum("packetsLost"),
    framesDecoded: counter(video, "framesDecoded"),
    framesPerSecond: counter(video, "framesPerSecond"),
    width: counter(video, "frameWidth"),
    height: counter(video, "frameHeight"),
    bytes: sum("bytesReceived"),
    freezes: counter(video, "freezeCount"),
    freezeS: counter(video, "totalFreezesDuration"),
    jitterBufferS: counter(video, "jitterBufferDelay"),
    jitterBufferFrames: counter(video, "jitterBufferEmittedCount"),
    rttMs: report.rttMs,
    playoutTimestamp: typeof playout === "number" ? playout : undefined,
    videoCodec: report.codec(video),
    audioCodec: report.codec(audio),
  };
}
