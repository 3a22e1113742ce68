import { describe, expect, test } from "vitest";
import { LaneAllocator } from "./lanes";

const GEOMETRY = { lanes: 4, stageWidthPx: 800, flightMs: 8_000, gapPx: 24 };

/** mulberry32: small, seeded, good enough to shake a scheduler. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe("danmaku lanes", () => {
  test("comments at the same moment take lanes from the top and then find none", () => {
    const allocator = new LaneAllocator(GEOMETRY);
    expect([0, 1, 2, 3].map(() => allocator.place(100, 0)?.lane)).toEqual([0, 1, 2, 3]);
    expect(allocator.place(100, 0)).toBeNull();
  });

  test("a lane is free again once the one before has entered whole", () => {
    const allocator = new LaneAllocator({ ...GEOMETRY, lanes: 1 });
    allocator.place(100, 0);
    const enteredMs = 124 / (900 / 8_000);
    expect(allocator.place(100, enteredMs - 1)).toBeNull();
    expect(allocator.place(100, enteredMs + 1)?.lane).toBe(0);
  });

  test("a long, fast comment waits until it cannot catch up with a short, slow one", () => {
    const allocator = new LaneAllocator({ ...GEOMETRY, lanes: 1 });
    allocator.place(40, 0);
    expect(allocator.place(700, 1_000)).toBeNull();
    expect(allocator.place(40, 1_000)?.lane).toBe(0);
  });

  test.each([1, 2, 3, 4, 5])("no two comments in a lane ever overlap (seed %i)", (seed) => {
    const next = random(seed);
    const allocator = new LaneAllocator(GEOMETRY);
    const flights: { lane: number; atMs: number; widthPx: number; speed: number }[] = [];
    let atMs = 0;
    for (let index = 0; index < 400; index += 1) {
      atMs += next() * 400;
      const widthPx = 30 + next() * 900;
      const flight = allocator.place(widthPx, atMs);
      if (flight === null) continue;
      flights.push({ lane: flight.lane, atMs, widthPx, speed: (800 + widthPx) / flight.durationMs });
    }
    expect(flights.length).toBeGreaterThan(50);
    for (let lane = 0; lane < 4; lane += 1) {
      const inLane = flights.filter((flight) => flight.lane === lane);
      for (let index = 1; index < inLane.length; index += 1) {
        const before = inLane[index - 1];
        const after = inLane[index];
        if (before === undefined || after === undefined) continue;
        const goneMs = before.atMs + 8_000;
        for (let t = after.atMs; t <= goneMs; t += 50) {
          const tail = 800 - (t - before.atMs) * before.speed + before.widthPx;
          const head = 800 - (t - after.atMs) * after.speed;
          expect(head, `seed ${seed} lane ${lane} at ${t} ms`).toBeGreaterThanOrEqual(tail);
        }
      }
    }
  });

  test("a resized stage starts empty", () => {
    const allocator = new LaneAllocator({ ...GEOMETRY, lanes: 1 });
    allocator.place(100, 0);
    allocator.resize({ ...GEOMETRY, lanes: 1, stageWidthPx: 300 });
    expect(allocator.place(100, 0)?.lane).toBe(0);
  });
});
