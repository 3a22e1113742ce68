/** One WHIP session with one edge: a peer connection that only sends. Lives until closed; never reconnects. */
import { whipUrl } from "../wire/offer";
import { type ConnectionState, PeerSession } from "./peer-session";
import type { PublishSample } from "./publish-health";
import { counter, type StatsReport } from "./stats-report";

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
  readonly #peer: PeerSession;

  private constructor(peer: PeerSession) {
    this.#peer = peer;
  }

  static async open(options: PublishSessionOptions): Promise<PublishSession> {
    const { edgeUrl, room, token, signal, stream } = options;
    const prepare = (connection: RTCPeerConnection) => {
      for (const track of stream.getTracks()) addTrack(connection, track, options);
    };
    return new PublishSession(await PeerSession.open({ url: whipUrl(edgeUrl, room), token, signal, prepare }));
  }

  get connection(): ConnectionState {
    return this.#peer.state;
  }

  /** Number of this publication in its room, where the edge tells it. */
  get incarnation(): number | null {
    return this.#peer.incarnation;
  }

  async sample(): Promise<PublishSample> {
    return readPublishSample(await this.#peer.stats());
  }

  /**
   * Exchanges what is sent (another camera, a file) without a new session. False when the new stream has a kind of
   * track that was not offered; a kind that it lacks falls silent.
   */
  async replaceStream(stream: MediaStream): Promise<boolean> {
    const transceivers = this.#peer.connection.getTransceivers();
    // The receiver's track keeps its kind when the sender has none.
    const offered = new Set(transceivers.map(({ receiver }) => receiver.track.kind));
    if (stream.getTracks().some((track) => !offered.has(track.kind))) return false;
    for (const { sender, receiver } of transceivers) {
      const track = stream.getTracks().find(({ kind }) => kind === receiver.track.kind) ?? null;
      if (sender.track !== track) await sender.replaceTrack(track);
    }
    return true;
  }

  /** Another bitrate and frame rate for the running encoder; the codec stays. */
  async applySettings(settings: PublishSettings): Promise<void> {
    for (const { sender, receiver } of this.#peer.connection.getTransceivers()) {
      if (receiver.track.kind !== "video") continue;
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) {
        encoding.maxBitrate = settings.videoBitrateBps;
        encoding.maxFramerate = settings.framesPerSecond;
      }
      await sender.setParameters(parameters);
    }
  }

  /** Ends the session at the edge and here; a second call does nothing. */
  close(): void {
    this.#peer.close();
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

function preferCodec(transceiver: RTCRtpTransceiver, codec: VideoCodec): void {
  const preferred = codecOrder(RTCRtpSender.getCapabilities("video")?.codecs ?? [], codec);
  // Firefox has `setCodecPreferences` since version 128; before it the browser's own order stands.
  if (preferred.length > 0 && "setCodecPreferences" in transceiver) transceiver.setCodecPreferences(preferred);
}

/** H.264 first: phones encode it in hardware. VP8 next: every browser has it. What edges do not forward is left out. */
export function codecOrder<Codec extends { readonly mimeType: string }>(
  codecs: readonly Codec[],
  codec: VideoCodec,
): Codec[] {
  const order = codec === "auto" ? ["video/h264", "video/vp8"] : [`video/${codec.toLowerCase()}`];
  const rank = ({ mimeType }: Codec) => {
    const place = order.indexOf(mimeType.toLowerCase());
    return place === -1 ? order.length : place;
  };
  const wanted = codecs.filter(({ mimeType }) => !/\/(vp9|av1|h265)$/i.test(mimeType));
  return [...wanted].sort((left, right) => rank(left) - rank(right));
}

export function readPublishSample(report: StatsReport): PublishSample {
  const video = report.rtp("outbound-rtp", "video");
  const audio = report.rtp("outbound-rtp", "audio");
  const remote = report.rtp("remote-inbound-rtp", video === undefined ? "audio" : "video");
  const rttS = remote?.["roundTripTime"];
  const lost = remote?.["fractionLost"];
  const limit = video?.["qualityLimitationReason"];
  return {
    bytes: counter(video, "bytesSent") + counter(audio, "bytesSent"),
    framesEncoded: counter(video, "framesEncoded"),
    framesPerSecond: counter(video, "framesPerSecond"),
    keyFrames: counter(video, "keyFramesEncoded"),
    keyFrameRequests: counter(video, "pliCount") + counter(video, "firCount"),
    width: counter(video, "frameWidth"),
    height: counter(video, "frameHeight"),
    rttMs: typeof rttS === "number" ? rttS * 1_000 : report.rttMs,
    lossRatio: typeof lost === "number" ? lost : null,
    limit: limit === "cpu" || limit === "bandwidth" ? limit : "none",
    hasVideo: video !== undefined,
    videoCodec: report.codec(video),
  };
}
