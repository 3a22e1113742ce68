/**
 * One peer connection with one edge, in either direction: the offer goes out, the answer comes in, and the session at
 * the edge lives exactly as long as the connection here. Never reconnects.
 */
import { deleteResource, postOffer } from "../wire/offer";
import { StatsReport } from "./stats-report";

export type ConnectionState = "connecting" | "connected" | "disconnected" | "failed" | "closed";

export interface PeerSessionOptions {
  readonly url: string;
  readonly token?: string | undefined;
  readonly signal: AbortSignal;
  /** Adds what is offered. */
  readonly prepare: (connection: RTCPeerConnection) => void;
}

export class PeerSession {
  readonly connection: RTCPeerConnection;
  readonly incarnation: number | null;
  readonly #resource: string;
  readonly #token: string | undefined;

  private constructor(
    connection: RTCPeerConnection,
    resource: string,
    token: string | undefined,
    incarnation: number | null,
  ) {
    this.connection = connection;
    this.#resource = resource;
    this.#token = token;
    this.incarnation = incarnation;
  }

  /**
   * The offer goes out before candidates are gathered: the edge is ICE-lite on a public address and learns ours from
   * the first check, so that nobody waits for a STUN server and no `mDNS` name has to be resolved.
   */
  static async open({ url, token, signal, prepare }: PeerSessionOptions): Promise<PeerSession> {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
      prepare(connection);
      await connection.setLocalDescription();
      const sdp = connection.localDescription?.sdp ?? "";
      const { sdp: answer, resource, incarnation } = await postOffer({ url, sdp, token, signal });
      const session = new PeerSession(connection, resource, token, incarnation);
      try {
        signal.throwIfAborted();
        await connection.setRemoteDescription({ type: "answer", sdp: answer });
        signal.throwIfAborted();
      } catch (error) {
        session.close();
        throw error;
      }
      return session;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get state(): ConnectionState {
    return connectionState(this.connection);
  }

  async stats(): Promise<StatsReport> {
    return new StatsReport(await this.connection.getStats());
  }

  /** Ends the session at the edge and here; a second call does nothing. */
  close(): void {
    if (this.connection.signalingState === "closed") return;
    void deleteResource(this.#resource, this.#token);
    this.connection.close();
  }
}

/** `connectionState` came to Firefox with version 113; before it, ICE alone tells. */
export function connectionState(
  connection: Pick<RTCPeerConnection, "iceConnectionState"> & { readonly connectionState?: RTCPeerConnectionState },
): ConnectionState {
  const state = connection.connectionState ?? connection.iceConnectionState;
  switch (state) {
    case "connected":
    case "completed":
      return "connected";
    case "disconnected":
    case "failed":
    case "closed":
      return state;
    default:
      return "connecting";
  }
}
