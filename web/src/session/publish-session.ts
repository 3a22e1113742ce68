/** One WHIP session with one edge: a peer connection that only sends. Lives until closed; never reconnects. */
import { deleteResource, postOffer, whipUrl } from "../wire/offer";
import type { PublishSample } from "./publish-health";
import type { ConnectionState } from "./viewing-judge";

export type VideoCodec = "auto" | "H264" | "VP8";

export interface PublishSettings {
  readonly codec: VideoCodec;
  readonly videoBitrateBps: number;
  readonly framesPerSecond: number;
}

export interface PublishSessionOptions {
  readonly edgeUrl: string;
  readonly room: string;
  readonly token?: string | undefined;
  readonly stream: MediaStream;
  readonly settings: PublishSettings;
  readonly signal: AbortSignal;
}

/** Opus for voice and music alike; the browser's own default of 32 kbit/s is a telephone's. */
const AUDIO_BITRATE_BPS = 96_000;

export class PublishSession {
  readonly #connection: RTCPeerConnection;
  readonly #resource: string;
  readonly #token: string | undefined;

  private constructor(connection: RTCPeerConnection, resource: string, token: string | undefined) {
    this.#connection = connection;
    this.#resource = resource;
    this.#token = token;
  }

  static async open(options: PublishSessionOptions): Promise<PublishSession> {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
      for (const track of options.stream.getTracks()) addTrack(connection, track, options);
      await connection.setLocalDescription();
      const answer = await postOffer({
        url: whipUrl(options.edgeUrl, options.room),
        sdp: connection.localDescription?.sdp ?? "",
        token: options.token,
        signal: options.signal,
      });
      if (options.signal.aborted) {
        void deleteResource(answer.resource, options.token);
        throw new DOMException("stopped while starting", "AbortError");
      }
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      return new PublishSession(connection, answer.resource, options.token);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get connection(): ConnectionState {
    const state = this.#connection.connectionState;
    return state === "new" ? "connecting" : state;
  }

  async sample(): Promise<PublishSample> {
    return readPublishSample(await this.#connection.getStats());
  }

  /** Exchanges what is sent (another camera, a file) without a new session. Needs the same kinds of tracks. */
  async replaceStream(stream: MediaStream): Promise<boolean> {
    const senders = this.#connection.getTransceivers().map(({ sender }) => sender);
    for (const track of stream.getTracks()) {
      if (!senders.some((sender) => sender.track?.kind === track.kind)) return false;
    }
    for (const sender of senders) {
      const track = stream.getTracks().find((candidate) => candidate.kind === sender.track?.kind) ?? null;
      if (track !== null) await sender.replaceTrack(track);
    }
    return true;
  }

  /** Ends the session at the edge and here; a second call does nothing. */
  close(): void {
    if (this.#connection.signalingState === "closed") return;
    void deleteResource(this.#resource, this.#token);
    this.#connection.close();
  }
}

function addTrack(connection: RTCPeerConnection, track: MediaStreamTrack, options: PublishSessionOptions): void {
  const { settings, stream } = options;
  const encoding: RTCRtpEncodingParameters =
    track.kind === "video"
      ? { maxBitrate: settings.videoBitrateBps, maxFramerate: settings.framesPerSecond, networkPriority: "medium" }
      : { maxBitrate: AUDIO_BITRATE_BPS, networkPriority: "high" };
  const transceiver = connection.addTransceiver(track, {
    direction: "sendonly",
    streams: [stream],
    sendEncodings: [encoding],
  });
  if (track.kind === "video") preferCodec(transceiver, settings.codec);
}

/** H.264 first: phones encode it in hardware. VP8 next: every browser has it. The rest stays on offer behind them. */
function preferCodec(transceiver: RTCRtpTransceiver, codec: VideoCodec): void {
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const order = codec === "auto" ? ["video/h264", "video/vp8"] : [`video/${codec.toLowerCase()}`];
  const rank = (mimeType: string) => {
    const place = order.indexOf(mimeType.toLowerCase());
    return place === -1 ? order.length : place;
  };
  const wanted = codecs.filter(({ mimeType }) => !/\/(vp9|av1|h265)$/i.test(mimeType));
  if (wanted.length === 0) return;
  transceiver.setCodecPreferences([...wanted].sort((left, right) => rank(left.mimeType) - rank(right.mimeType)));
}

type StatsRecord = Readonly<Record<string, unknown>> & { readonly type: string; readonly kind?: string };

export function readPublishSample(report: { forEach(callback: (value: StatsRecord) => void): void }): PublishSample {
  const records = new Map<string, StatsRecord>();
  report.forEach((value) => void records.set(String(value["id"]), value));
  const all = [...records.values()];
  const video = all.find((record) => record.type === "outbound-rtp" && record.kind === "video");
  const audio = all.find((record) => record.type === "outbound-rtp" && record.kind === "audio");
  const remote = all.find(
    (record) => record.type === "remote-inbound-rtp" && record.kind === (video ? "video" : "audio"),
  );
  const transport = all.find((record) => record.type === "transport");
  const pair = records.get(String(transport?.["selectedCandidatePairId"]));
  const rttS = remote?.["roundTripTime"] ?? pair?.["currentRoundTripTime"];
  const lost = remote?.["fractionLost"];
  const limit = video?.["qualityLimitationReason"];
  const mime = records.get(String(video?.["codecId"]))?.["mimeType"];
  return {
    bytes: number(video, "bytesSent") + number(audio, "bytesSent"),
    framesEncoded: number(video, "framesEncoded"),
    framesPerSecond: number(video, "framesPerSecond"),
    keyFrames: number(video, "keyFramesEncoded"),
    keyFrameRequests: number(video, "pliCount") + number(video, "firCount"),
    width: number(video, "frameWidth"),
    height: number(video, "frameHeight"),
    rttMs: typeof rttS === "number" ? rttS * 1_000 : null,
    lossRatio: typeof lost === "number" ? lost : null,
    limit: limit === "cpu" || limit === "bandwidth" ? limit : "none",
    hasVideo: video !== undefined,
    videoCodec: typeof mime === "string" ? (mime.split("/")[1] ?? mime) : "",
  };
}

function number(record: StatsRecord | undefined, key: string): number {
  const value = record?.[key];
  return typeof value === "number" ? value : 0;
}
