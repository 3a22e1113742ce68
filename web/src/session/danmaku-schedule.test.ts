import { expect, test } from "vitest";
import type { RoomEntry } from "../wire/messages";
import { DanmakuSchedule } from "./danmaku-schedule";

const NOW_MS = 1_795_000_000_000;
const entry = (id: string, aheadMs: number): RoomEntry => ({
  epoch: 1,
  offset: 1,
  id,
  person: "p",
  name: "n",
  text: id,
  media_time_ms: NOW_MS + aheadMs,
  unix_ms: NOW_MS,
});
const ids = (entries: readonly RoomEntry[]) => entries.map(({ id }) => id);

test("a comment waits for its frame", () => {
  const schedule = new DanmakuSchedule();
  expect(schedule.handleEntry(entry("a", 180), NOW_MS)).toEqual([]);
  expect(schedule.handleTime(NOW_MS + 179)).toEqual([]);
  expect(ids(schedule.handleTime(NOW_MS + 180))).toEqual(["a"]);
  expect(schedule.handleTime(NOW_MS + 500)).toEqual([]);
});

test("a comment whose frame has passed is shown at once", () => {
  const schedule = new DanmakuSchedule();
  expect(ids(schedule.handleEntry(entry("late", -900), NOW_MS))).toEqual(["late"]);
});

test("comments come in the order of their frames, not of their arrival", () => {
  const schedule = new DanmakuSchedule();
  for (const made of [entry("b", 200), entry("a", 100), entry("c", 300)]) schedule.handleEntry(made, NOW_MS);
  expect(ids(schedule.handleTime(NOW_MS + 250))).toEqual(["a", "b"]);
  expect(ids(schedule.handleTime(NOW_MS + 300))).toEqual(["c"]);
});

test("a clock that is seconds ahead is not believed", () => {
  const schedule = new DanmakuSchedule();
  expect(ids(schedule.handleEntry(entry("odd", 60_000), NOW_MS))).toEqual(["odd"]);
});

test("without a picture nothing is held back, and losing the clock releases what waits", () => {
  const schedule = new DanmakuSchedule();
  expect(ids(schedule.handleEntry(entry("a", 100), null))).toEqual(["a"]);
  schedule.handleEntry(entry("b", 100), NOW_MS);
  expect(ids(schedule.handleTime(null))).toEqual(["b"]);
});

test("at the bound the oldest is shown early, never lost", () => {
  const schedule = new DanmakuSchedule();
  const early: string[] = [];
  for (let index = 0; index < 201; index += 1) {
    early.push(...ids(schedule.handleEntry(entry(`e${index}`, 1_000 + index), NOW_MS)));
  }
  expect(early).toEqual(["e0"]);
  expect(schedule.handleTime(NOW_MS + 1_300)).toHaveLength(200);
});
