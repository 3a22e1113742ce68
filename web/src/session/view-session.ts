/** One WHEP session with one edge: a peer connection that only receives. Lives until closed; never reconnects. */
import { deleteResource, postOffer, whepUrl } from "../wire/offer";
import type { ConnectionState } from "./viewing-judge";

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
  readonly #connection: RTCPeerConnection;
  readonly #token: string | undefined;
  readonly #resource: string;

  private constructor(connection: RTCPeerConnection, resource: string, token: string | undefined) {
    this.#connection = connection;
    this.#resource = resource;
    this.#token = token;
    for (const receiver of connection.getReceivers()) this.stream.addTrack(receiver.track);
  }

  /**
   * Offers to receive one video and one audio track. The offer goes out before candidates are gathered: the edge is
   * ICE-lite on a public address and learns ours from the first check.
   */
  static async open(options: ViewSessionOptions): Promise<ViewSession> {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
      for (const kind of ["video", "audio"] as const) {
        const { receiver } = connection.addTransceiver(kind, { direction: "recvonly" });
        setBufferTarget(receiver, options.bufferTargetMs);
      }
      await connection.setLocalDescription();
      const answer = await postOffer({
        url: whepUrl(options.edgeUrl, options.room),
        sdp: connection.localDescription?.sdp ?? "",
        token: options.token,
        signal: options.signal,
      });
      if (options.signal.aborted) {
        void deleteResource(answer.resource, options.token);
        throw new DOMException("left while joining", "AbortError");
      }
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      return new ViewSession(connection, answer.resource, options.token);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get connection(): ConnectionState {
    const state = this.#connection.connectionState;
    return state === "new" ? "connecting" : state;
  }

  async stats(): Promise<ViewStats> {
    return readViewStats(await this.#connection.getStats());
  }

  /** Ends the session at the edge and here; a second call does nothing. */
  close(): void {
    if (this.#connection.signalingState === "closed") return;
    void deleteResource(this.#resource, this.#token);
    this.#connection.close();
  }
}

function setBufferTarget(receiver: RTCRtpReceiver, milliseconds: number): void {
  // Not in Firefox and Safari yet; their jitter buffers then find their own depth.
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = milliseconds;
}

type StatsRecord = Readonly<Record<string, unknown>> & { readonly type: string; readonly kind?: string };

export function readViewStats(report: { forEach(callback: (value: StatsRecord) => void): void }): ViewStats {
  const records = new Map<string, StatsRecord>();
  report.forEach((value) => void records.set(String(value["id"]), value));
  const all = [...records.values()];
  const inbound = (kind: string) => all.find((record) => record.type === "inbound-rtp" && record.kind === kind);
  const video = inbound("video");
  const audio = inbound("audio");
  const transport = all.find((record) => record.type === "transport");
  const pair = records.get(String(transport?.["selectedCandidatePairId"]));
  const rtt = pair?.["currentRoundTripTime"];
  const playout = video?.["estimatedPlayoutTimestamp"];
  return {
    packets: number(video, "packetsReceived") + number(audio, "packetsReceived"),
    packetsLost: number(video, "packetsLost") + number(audio, "packetsLost"),
    framesDecoded: number(video, "framesDecoded"),
    framesPerSecond: number(video, "framesPerSecond"),
    width: number(video, "frameWidth"),
    height: number(video, "frameHeight"),
    bytes: number(video, "bytesReceived") + number(audio, "bytesReceived"),
    freezes: number(video, "freezeCount"),
    freezeS: number(video, "totalFreezesDuration"),
    jitterBufferS: number(video, "jitterBufferDelay"),
    jitterBufferFrames: number(video, "jitterBufferEmittedCount"),
    rttMs: typeof rtt === "number" ? rtt * 1_000 : null,
    playoutTimestamp: typeof playout === "number" ? playout : undefined,
    videoCodec: codec(records, video),
    audioCodec: codec(records, audio),
  };
}

function number(record: StatsRecord | undefined, key: string): number {
  const value = record?.[key];
  return typeof value === "number" ? value : 0;
}

function codec(records: ReadonlyMap<string, StatsRecord>, record: StatsRecord | undefined): string {
  const mime = records.get(String(record?.["codecId"]))?.["mimeType"];
  return typeof mime === "string" ? (mime.split("/")[1] ?? mime) : "";
}
