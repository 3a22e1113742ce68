import { expect, test } from "vitest";
import { Heartbeat } from "./heartbeat";

const opened = () => {
  const heartbeat = new Heartbeat();
  heartbeat.handleOpen(0);
  return heartbeat;
};

test("a silent reader pings well before the edge's 90 s are over", () => {
  const heartbeat = opened();
  const pings: number[] = [];
  for (let nowMs = 1_000; nowMs <= 90_000; nowMs += 1_000) {
    if (heartbeat.poll(nowMs) !== "ping") continue;
    pings.push(nowMs);
    heartbeat.handleHeard();
  }
  expect(pings).toEqual([20_000, 40_000, 60_000, 80_000]);
});

test("a socket that does not answer is dead after eight seconds, not at once", () => {
  const heartbeat = opened();
  expect(heartbeat.poll(20_000)).toBe("ping");
  expect(heartbeat.poll(28_000)).toBe("wait");
  expect(heartbeat.poll(28_001)).toBe("dead");
});

test("a page that ticks once a minute still keeps its socket", () => {
  const heartbeat = opened();
  expect(heartbeat.poll(60_000)).toBe("ping");
  heartbeat.handleHeard();
  expect(heartbeat.poll(120_000)).toBe("ping");
});

test("a new socket owes nothing for the old one", () => {
  const heartbeat = opened();
  heartbeat.poll(20_000);
  heartbeat.handleOpen(25_000);
  expect(heartbeat.poll(40_000)).toBe("wait");
});
