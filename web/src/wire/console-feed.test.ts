import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type FeedState, followSnapshots, type Snapshot } from "./console-feed";

/** As the browser's: CONNECTING after a broken connection, CLOSED after a refusal. */
class FakeSource {
  static readonly CLOSED = 2;
  static made: FakeSource[] = [];
  readyState = 1;
  onerror: (() => void) | null = null;
  #listener: ((event: { readonly data: string }) => void) | null = null;

  constructor() {
    FakeSource.made.push(this);
  }

  addEventListener(_: string, listener: (event: { readonly data: string }) => void): void {
    this.#listener = listener;
  }

  close(): void {
    this.readyState = 2;
  }

  send(): void {
    if (this.readyState === 1) this.#listener?.({ data: '{"edges":[]}' });
  }
}

let states: FeedState[];
let snapshots: Snapshot[];
let stop: () => void;
const newest = () => FakeSource.made.at(-1) as FakeSource;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", FakeSource);
  FakeSource.made = [];
  states = [];
  snapshots = [];
  stop = followSnapshots({
    onSnapshot: (snapshot) => snapshots.push(snapshot),
    onState: (state) => states.push(state),
  });
});
afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a feed that is refused is opened again", () => {
  newest().readyState = FakeSource.CLOSED;
  newest().onerror?.();
  expect(states).toEqual(["lost"]);
  vi.advanceTimersByTime(1_000);
  expect(FakeSource.made).toHaveLength(2);
  newest().send();
  expect(states.at(-1)).toBe("open");
  expect(snapshots).toHaveLength(1);
});

test("a broken connection is left to the browser", () => {
  newest().readyState = 0;
  newest().onerror?.();
  vi.advanceTimersByTime(4_000);
  expect(FakeSource.made).toHaveLength(1);
});

test("a feed that fell silent is lost and opened again", () => {
  newest().send();
  vi.advanceTimersByTime(4_900);
  expect(states).toEqual(["open"]);
  vi.advanceTimersByTime(100);
  expect(states).toEqual(["open", "lost"]);
  vi.advanceTimersByTime(1_000);
  expect(FakeSource.made).toHaveLength(2);
});

test("who has stopped following opens nothing more", () => {
  newest().readyState = FakeSource.CLOSED;
  newest().onerror?.();
  stop();
  vi.advanceTimersByTime(60_000);
  expect(FakeSource.made).toHaveLength(1);
});
