/** One WebSocket to a room at one edge. Knows the subprotocol and nothing of reconnecting: that is the session's. */
import { type ClientMessage, type Hello, MessageInvalid, parseServerMessage, type ServerMessage } from "./messages";

export const ROOM_SUBPROTOCOL = "tradewind.room.v1";

export interface RoomSocketHandlers {
  readonly onMessage: (message: ServerMessage) => void;
  /** Called once, whoever closed. `opened` is false when the edge was never reached. */
  readonly onClose: (event: { readonly code: number; readonly opened: boolean }) => void;
}

export class RoomSocket {
  readonly #socket: WebSocket;
  #handlers: RoomSocketHandlers | null;
  #opened = false;

  constructor(edgeUrl: string, room: string, hello: Hello, handlers: RoomSocketHandlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(roomSocketUrl(edgeUrl, room), ROOM_SUBPROTOCOL);
    this.#socket.onopen = () => {
      this.#opened = true;
      this.send(hello);
    };
    this.#socket.onmessage = (event: MessageEvent<unknown>) => {
      const message = read(event.data);
      if (message !== null) this.#handlers?.onMessage(message);
    };
    this.#socket.onclose = (event) => {
      const handlers = this.#handlers;
      this.#handlers = null;
      handlers?.onClose({ code: event.code, opened: this.#opened });
    };
  }

  /** False when the socket is not open; the caller keeps what it must not lose. */
  send(message: ClientMessage): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Closes without a further callback. */
  close(): void {
    this.#handlers = null;
    this.#socket.close(1000);
  }
}

/** The token travels in `hello`, never here: URLs end up in logs. */
export function roomSocketUrl(edgeUrl: string, room: string): string {
  const url = new URL(`/v1/rooms/${encodeURIComponent(room)}/socket`, edgeUrl);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** Null for a frame that is no message we know: an edge newer than this page may send some. */
function read(frame: unknown): ServerMessage | null {
  if (typeof frame !== "string") return null;
  try {
    return parseServerMessage(frame);
  } catch (error) {
    if (error instanceof MessageInvalid) return null;
    throw error;
  }
}
