/** Stand-ins for what tests of sessions need of a browser. Timers are vitest's; nothing here waits for real time. */
import { vi } from "vitest";
import type { ClientMessage, ServerMessage } from "../wire/messages";

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static readonly OPEN = 1;
  static made: FakeSocket[] = [];
  readonly url: string;
  readyState = 0;
  readonly sent: ClientMessage[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: string }) => void) | null = null;
  onclose: ((event: { readonly code: number }) => void) | null = null;

  constructor(url: string) {
    this.url = url;
    FakeSocket.made.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }

  close(): void {
    this.end();
  }

  /** The edge takes the connection. */
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  receive(message: ServerMessage): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** The connection is lost, or never came about. */
  end(code = 1006): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code });
  }

  static newest(): FakeSocket {
    const socket = FakeSocket.made.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }
}

/** Fake timers, and the globals that sessions use. */
export function installBrowser(): void {
  vi.useFakeTimers();
  FakeSocket.made = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("document", { addEventListener: () => undefined, visibilityState: "visible" });
  vi.stubGlobal("reportError", (error: unknown) => {
    throw error;
  });
}

export function removeBrowser(): void {
  vi.useRealTimers();
  vi.unstubAllGlobals();
}

export const edge = (edge_id: string) => ({ edge_id, url: `http://${edge_id}` });

export function welcome(edge_id: string, change: { readonly live?: boolean } = {}): ServerMessage {
  return {
    type: "welcome",
    room: "demo",
    edge_id,
    person: "guest-me",
    name: "me",
    edges: [edge(edge_id)],
    epoch: 0,
    offset: 0,
    live: change.live ?? false,
  };
}
