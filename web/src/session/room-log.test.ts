import { expect, test } from "vitest";
import type { RoomEntry } from "../wire/messages";
import { RoomLog } from "./room-log";

const entry = (epoch: number, offset: number, id = `${epoch}-${offset}`, person = "p"): RoomEntry => ({
  epoch,
  offset,
  id,
  person,
  name: "n",
  text: id,
  media_time_ms: 0,
  unix_ms: 0,
});
const ids = (entries: readonly RoomEntry[]) => entries.map(({ id }) => id);

test("a comment that comes twice is shown once, by its place and by its author's id", () => {
  const log = new RoomLog();
  expect(ids(log.handleEntries([entry(7, 1), entry(7, 2)], 0))).toEqual(["7-1", "7-2"]);
  expect(log.handleEntries([entry(7, 2)], 0)).toEqual([]);
  expect(log.handleEntries([entry(7, 2, "another id")], 0)).toEqual([]);
  expect(log.handleEntries([entry(8, 1, "7-2")], 0)).toEqual([]);
});

test("two people may choose the same id", () => {
  const log = new RoomLog();
  expect(log.handleEntries([entry(7, 1, "x", "p"), entry(7, 2, "x", "q")], 0)).toHaveLength(2);
});

test("a reconnect goes on from the last comment before a hole, so that the hole can be filled", () => {
  const log = new RoomLog();
  log.handleEntries([entry(7, 40), entry(7, 41)], 0);
  log.handleEntries([entry(7, 44)], 0);
  expect(log.last).toEqual({ epoch: 7, offset: 41 });
  expect(ids(log.handleEntries([entry(7, 42), entry(7, 43), entry(7, 44)], 0))).toEqual(["7-42", "7-43"]);
  expect(log.last).toEqual({ epoch: 7, offset: 44 });
});

test("what was said before this page came is no hole", () => {
  const log = new RoomLog();
  log.handleEntries([entry(7, 300), entry(7, 301)], 0);
  expect(log.pollMissed(60_000)).toBe(0);
});

test("a hole that nobody fills is counted once, and the log goes on behind it", () => {
  const log = new RoomLog();
  log.handleEntries([entry(7, 1)], 0);
  log.handleEntries([entry(7, 4), entry(7, 5)], 1_000);
  expect(log.pollMissed(4_900)).toBe(0);
  expect(log.pollMissed(5_000)).toBe(2);
  expect(log.pollMissed(60_000)).toBe(0);
  expect(log.last).toEqual({ epoch: 7, offset: 5 });
});

test("a hole filled in time is nothing, and one that came late is still shown", () => {
  const log = new RoomLog();
  log.handleEntries([entry(7, 1), entry(7, 3)], 0);
  expect(log.handleEntries([entry(7, 2)], 3_000)).toHaveLength(1);
  expect(log.pollMissed(60_000)).toBe(0);
  log.handleEntries([entry(7, 5)], 60_000);
  expect(log.pollMissed(65_000)).toBe(1);
  expect(ids(log.handleEntries([entry(7, 4)], 66_000))).toEqual(["7-4"]);
});

test("another host's epoch begins anew, and an older one's late comments are shown without a hole", () => {
  const log = new RoomLog();
  log.handleEntries([entry(7, 90)], 0);
  log.handleEntries([entry(9, 1)], 0);
  expect(ids(log.handleEntries([entry(7, 95)], 0))).toEqual(["7-95"]);
  expect(log.pollMissed(60_000)).toBe(0);
  expect(log.last).toEqual({ epoch: 9, offset: 1 });
});

test("places of a room without a host are an edge's own: ids alone tell", () => {
  const log = new RoomLog();
  expect(log.handleEntries([entry(0, 1, "a"), entry(0, 2, "b")], 0)).toHaveLength(2);
  expect(ids(log.handleEntries([entry(0, 1, "c"), entry(0, 9, "a")], 0))).toEqual(["c"]);
  expect(log.pollMissed(60_000)).toBe(0);
});

test("a page that has seen nothing asks for the room's history", () => {
  expect(new RoomLog().last).toBeNull();
});
