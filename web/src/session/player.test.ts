import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { edgeAnswers } from "../wire/join";
import { edge, FakeSocket, installBrowser, removeBrowser, welcome } from "./fakes";
import type { ConnectionState } from "./peer-session";
import { Player } from "./player";
import type { PlayerState } from "./player-types";
import { ViewSession, type ViewSessionOptions, type ViewStats } from "./view-session";

vi.mock("../wire/join", () => ({ edgeAnswers: vi.fn(), joinRoom: vi.fn() }));

/** A session whose frames come while `flows` is true. */
class FakeView {
  static made: FakeView[] = [];
  /** Edges that cannot be reached. */
  static dead = new Set<string>();
  readonly stream = {} as MediaStream;
  readonly edgeUrl: string;
  connection: ConnectionState = "connected";
  flows = true;
  closed = false;
  #frames = 0;

  constructor({ edgeUrl }: ViewSessionOptions) {
    this.edgeUrl = edgeUrl;
    FakeView.made.push(this);
  }

  async stats(): Promise<ViewStats> {
    if (this.flows) this.#frames += 6;
    const frames = this.#frames;
    return {
      packets: frames * 8,
      videoPackets: frames * 8,
      packetsLost: 0,
      framesDecoded: frames,
      framesPerSecond: 30,
      width: 640,
      height: 360,
      bytes: frames * 8_000,
      freezes: 0,
      freezeS: 0,
      jitterBufferS: 0,
      jitterBufferFrames: 0,
      rttMs: 10,
      playoutTimestamp: undefined,
      videoCodec: "H264",
      audioCodec: "opus",
    };
  }

  close(): void {
    this.closed = true;
  }
}

const element = () => ({ srcObject: null as unknown, muted: true, paused: false, play: async () => undefined });
let video: ReturnType<typeof element>;
let player: Player;
let states: string[];

beforeEach(() => {
  installBrowser();
  FakeView.made = [];
  FakeView.dead = new Set();
  vi.mocked(edgeAnswers).mockResolvedValue(false);
  vi.spyOn(ViewSession, "open").mockImplementation(async (options) => {
    if (FakeView.dead.has(options.edgeUrl)) throw new TypeError("unreachable");
    return new FakeView(options) as unknown as ViewSession;
  });
  video = element();
  states = [];
  player = new Player({
    element: video as unknown as HTMLVideoElement,
    room: "demo",
    edges: [edge("sg"), edge("fra"), edge("iad")],
  });
  player.on("state", (state: PlayerState) => {
    states.push("edge" in state ? `${state.name} ${state.edge.edge_id}` : state.name);
  });
});
afterEach(() => {
  player.close();
  vi.restoreAllMocks();
  removeBrowser();
});

async function playing(): Promise<FakeView> {
  await vi.advanceTimersByTimeAsync(10);
  FakeSocket.newest().open();
  FakeSocket.newest().receive({
    ...welcome("sg", { live: true }),
    edges: [edge("sg"), edge("fra"), edge("iad")],
  } as never);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(player.state.name).toBe("playing");
  return FakeView.made.at(-1) as FakeView;
}

test("a killed edge is left for the next one, and the last picture stands until the new one has come", async () => {
  const first = await playing();
  expect(video.srcObject).toBe(first.stream);
  first.flows = false;
  FakeView.dead.add("http://sg");
  FakeSocket.newest().end();
  await vi.advanceTimersByTimeAsync(800);
  const second = FakeView.made.at(-1) as FakeView;
  expect(second.edgeUrl).toBe("http://fra");
  await vi.advanceTimersByTimeAsync(600);
  expect(video.srcObject).toBe(second.stream);
  expect(first.closed).toBe(true);
  expect(states).toEqual(["connecting sg", "playing sg", "moving fra", "playing fra"]);
});

test("when only this page's network failed, the player goes on at the same edge", async () => {
  const first = await playing();
  vi.mocked(edgeAnswers).mockResolvedValue(true);
  first.flows = false;
  first.connection = "failed";
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeView.made.map(({ edgeUrl }) => edgeUrl)).toEqual(["http://sg", "http://sg"]);
  expect(player.state).toMatchObject({ name: "playing", edge: { edge_id: "sg" } });
});

test("with every edge gone the player says so, waits longer each time, and comes back by itself", async () => {
  const first = await playing();
  for (const name of ["sg", "fra", "iad"]) FakeView.dead.add(`http://${name}`);
  first.connection = "failed";
  await vi.advanceTimersByTimeAsync(3_000);
  expect(player.state.name).toBe("unreachable");
  const tries = vi.mocked(ViewSession.open).mock.calls.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(vi.mocked(ViewSession.open).mock.calls.length - tries).toBeLessThan(40);
  FakeView.dead.clear();
  player.retry();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(player.state.name).toBe("playing");
});

test("a player that was closed while it read its numbers leaves the element alone", async () => {
  await vi.advanceTimersByTimeAsync(10);
  const view = FakeView.made.at(-1) as FakeView;
  let answer: () => void = () => undefined;
  const stats = await view.stats();
  view.stats = () => new Promise((resolve) => (answer = () => resolve(stats)));
  await vi.advanceTimersByTimeAsync(300);
  player.close();
  answer();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(video.srcObject).toBeNull();
  expect(view.closed).toBe(true);
});

test("somebody else's comment under the id of ours is not ours", async () => {
  await playing();
  const shown: string[] = [];
  player.on("danmaku", ({ entry, own }) => shown.push(`${own ? "own" : "other"} ${entry.text}`));
  const id = player.say("mine");
  const copy = { epoch: 7, offset: 1, id, name: "x", media_time_ms: 0, unix_ms: 0 };
  FakeSocket.newest().receive({ type: "batch", messages: [{ ...copy, person: "guest-me", text: "mine" }] });
  FakeSocket.newest().receive({ type: "batch", messages: [{ ...copy, offset: 2, person: "thief", text: "theirs" }] });
  expect(shown).toEqual(["own mine", "other theirs"]);
});
