import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { edge, FakeSocket, installBrowser, removeBrowser, welcome } from "./fakes";
import { RoomSession } from "./room";

let room: RoomSession;
let rejected: { readonly id: string; readonly text: string; readonly reason: string }[];

beforeEach(() => {
  installBrowser();
  rejected = [];
  room = new RoomSession({ room: "demo", name: "me" });
  room.on("rejected", (refusal) => rejected.push(refusal));
  room.connect(edge("sg"));
});
afterEach(() => {
  room.close();
  removeBrowser();
});

function enter(socket = FakeSocket.newest()): FakeSocket {
  socket.open();
  socket.receive(welcome("sg"));
  return socket;
}
const said = (socket: FakeSocket) => socket.sent.flatMap((message) => (message.type === "danmaku" ? [message] : []));

test("a comment that was not answered goes out again on the next socket, under the same id", () => {
  const first = enter();
  const id = room.say("hello", undefined, 1_795_000_000_000);
  expect(said(first).map((message) => message.id)).toEqual([id]);
  first.end();
  vi.advanceTimersByTime(500);
  const second = enter();
  expect(second).not.toBe(first);
  expect(said(second)).toEqual(said(first));
  second.receive({ type: "accepted", id, epoch: 7, offset: 1 });
  second.end();
  vi.advanceTimersByTime(500);
  expect(said(enter())).toEqual([]);
});

test("what is said before the room is open waits for it", () => {
  const socket = FakeSocket.newest();
  room.say("early", undefined, null);
  socket.open();
  expect(socket.sent.map(({ type }) => type)).toEqual(["hello"]);
  socket.receive(welcome("sg"));
  expect(said(socket).map(({ text }) => text)).toEqual(["early"]);
});

test("a comment that found no room in ten seconds comes back with its text", () => {
  const id = room.say("lost", undefined, null);
  vi.advanceTimersByTime(11_000);
  expect(rejected).toEqual([expect.objectContaining({ id, text: "lost", reason: "not_sent" })]);
});

test("a refusal for writing too fast is told with the edge's words", () => {
  const socket = enter();
  const id = room.say("fast", undefined, null);
  socket.receive({ type: "rejected", id, reason: "too_fast", detail: "Wait a moment.", retry_after_ms: 900 });
  expect(rejected).toEqual([{ id, text: "fast", reason: "too_fast", detail: "Wait a moment." }]);
  vi.advanceTimersByTime(5_000);
  expect(said(socket)).toHaveLength(1);
});

test("a silent reader keeps its socket with pings, and leaves one that does not answer", () => {
  const socket = enter();
  vi.advanceTimersByTime(21_000);
  const ping = socket.sent.at(-1);
  expect(ping?.type).toBe("ping");
  socket.receive({ type: "pong", id: ping?.type === "ping" ? ping.id : "" });
  vi.advanceTimersByTime(21_000);
  expect(FakeSocket.made).toHaveLength(1);
  vi.advanceTimersByTime(9_000);
  expect(FakeSocket.made).toHaveLength(2);
});

test("who was put out for good does not come again, and is told so when speaking", async () => {
  const socket = enter();
  socket.receive({ type: "goodbye", reason: "token_expired", retry: false });
  socket.end(4_401);
  vi.advanceTimersByTime(60_000);
  expect(FakeSocket.made).toHaveLength(1);
  const id = room.say("anyone?", undefined, null);
  await Promise.resolve();
  expect(rejected).toEqual([expect.objectContaining({ id, reason: "ended" })]);
});

test("a room that roams goes on at the next edge when one cannot be reached", () => {
  room.roam([edge("fra"), edge("iad")]);
  expect(FakeSocket.newest().url).toContain("//fra/");
  FakeSocket.newest().end();
  vi.advanceTimersByTime(500);
  expect(FakeSocket.newest().url).toContain("//iad/");
});

test("a reconnect names the last comment before a hole", () => {
  const socket = enter();
  const entry = (offset: number) => ({
    epoch: 7,
    offset,
    id: `c${offset}`,
    person: "p",
    name: "n",
    text: "t",
    media_time_ms: 0,
    unix_ms: 0,
  });
  socket.receive({ type: "batch", messages: [entry(1), entry(2)] });
  socket.receive({ type: "batch", messages: [entry(4)] });
  socket.end();
  vi.advanceTimersByTime(500);
  FakeSocket.newest().open();
  expect(FakeSocket.newest().sent[0]).toMatchObject({ type: "hello", last_epoch: 7, last_offset: 2 });
});
