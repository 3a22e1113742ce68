import { describe, expect, test } from "vitest";
import { type Verdict, ViewingJudge, type ViewingSample } from "./viewing-judge";

const FLOWING: ViewingSample = { connection: "connected", packets: 0, framesDecoded: 0, socketOpen: true, live: true };

/** Feeds a sample every 100 ms from `from` to `until`; `at` says what changes with time. Returns the first verdict to act on. */
function run(judge: ViewingJudge, from: number, until: number, at: (now: number) => Partial<ViewingSample>) {
  for (let tick = 0; ; tick += 1) {
    const now = from + tick / 10;
    if (now > until + 1e-9) return null;
    const packets = Math.round(now * 100);
    const verdict: Verdict = judge.handleSample({ ...FLOWING, packets, framesDecoded: packets / 10, ...at(now) }, now);
    if (verdict.kind !== "stay") return { verdict, now };
  }
}

function flowing(until: number, lastHopefulMoveAt?: number): ViewingJudge {
  const judge = new ViewingJudge(0, lastHopefulMoveAt);
  expect(run(judge, 0, until, () => ({}))).toBeNull();
  return judge;
}

const stoppedAt = (now: number) => ({ packets: now * 100, framesDecoded: now * 10 });

describe("when a player leaves its edge", () => {
  test("a killed edge is left within half a second, because its socket closes too", () => {
    const judge = flowing(5);
    const act = run(judge, 5.1, 10, () => ({ ...stoppedAt(5), socketOpen: false }));
    expect(act?.verdict).toEqual({ kind: "move", reason: "edge_gone" });
    expect(act?.now).toBeLessThanOrEqual(5.5);
  });

  test("a lost socket alone moves nothing while media flows", () => {
    const judge = flowing(5);
    expect(run(judge, 5.1, 20, () => ({ socketOpen: false }))).toBeNull();
  });

  test("a silent edge is asked, and left when it does not answer", () => {
    const judge = flowing(5);
    const ask = run(judge, 5.1, 10, () => stoppedAt(5));
    expect(ask?.verdict).toEqual({ kind: "ask" });
    expect(ask?.now).toBeLessThan(5.6);
    judge.handleAnswer(false);
    expect(judge.handleSample({ ...FLOWING, ...stoppedAt(5) }, 6.1)).toEqual({ kind: "move", reason: "edge_silent" });
  });

  test("a silent stream at a healthy edge is given the time that edges need to repair it", () => {
    const judge = flowing(5);
    let left: number | null = null;
    for (let now = 5.1; left === null && now < 20; now += 0.1) {
      const verdict = judge.handleSample({ ...FLOWING, ...stoppedAt(5) }, now);
      if (verdict.kind === "ask") judge.handleAnswer(true);
      if (verdict.kind === "move") {
        expect(verdict.reason).toBe("stream_stalled");
        left = now;
      }
    }
    expect(left).toBeGreaterThan(8.5);
    expect(left).toBeLessThan(10);
  });

  test("hoping for another edge is not repeated within ten seconds", () => {
    const judge = flowing(5, 4);
    let moved = false;
    for (let now = 5.1; now < 13.5; now += 0.1) {
      const verdict = judge.handleSample({ ...FLOWING, ...stoppedAt(5) }, now);
      if (verdict.kind === "ask") judge.handleAnswer(true);
      moved ||= verdict.kind === "move";
    }
    expect(moved).toBe(false);
  });

  test("before a host nothing is owed and silence is fine", () => {
    const judge = new ViewingJudge(0);
    expect(run(judge, 0, 60, () => ({ packets: 0, framesDecoded: 0, live: false }))).toBeNull();
  });

  test("before a host, a lost socket makes the player ask the edge", () => {
    const judge = new ViewingJudge(0);
    run(judge, 0, 5, () => ({ packets: 0, framesDecoded: 0, live: false }));
    const act = run(judge, 5.1, 8, () => ({ packets: 0, framesDecoded: 0, live: false, socketOpen: false }));
    expect(act?.verdict).toEqual({ kind: "ask" });
  });

  test("a handshake that never ends is given up after five seconds", () => {
    const judge = new ViewingJudge(0);
    const act = run(judge, 0, 10, () => ({ connection: "connecting", packets: 0, framesDecoded: 0 }));
    expect(act?.verdict).toEqual({ kind: "move", reason: "connect_timeout" });
    expect(act?.now).toBeCloseTo(5.1, 5);
  });

  test("the first packet may take as long as the host's next key frame", () => {
    const judge = new ViewingJudge(0);
    for (let now = 0; now < 12; now += 0.1) {
      const verdict = judge.handleSample({ ...FLOWING, packets: 0, framesDecoded: 0 }, now);
      if (verdict.kind === "ask") judge.handleAnswer(true);
      expect(verdict.kind, `at ${now} s`).not.toBe("move");
    }
  });

  test("packets without frames are left in the end", () => {
    const judge = flowing(5);
    const act = run(judge, 5.1, 25, () => ({ framesDecoded: 50 }));
    expect(act?.verdict).toEqual({ kind: "move", reason: "not_decoding" });
  });
});

describe("a device that slept", () => {
  test("does not hold its own sleep against the edge", () => {
    const judge = flowing(5);
    expect(judge.handleSample({ ...FLOWING, packets: 500, framesDecoded: 50 }, 605)).toEqual({ kind: "stay" });
    const ask = run(judge, 605.1, 610, () => stoppedAt(5));
    expect(ask?.verdict).toEqual({ kind: "ask" });
    expect(ask?.now).toBeGreaterThan(605.3);
  });

  test("leaves at once when its session has ended meanwhile", () => {
    const judge = flowing(5);
    const verdict = judge.handleSample({ ...FLOWING, ...stoppedAt(5), connection: "failed" }, 605);
    expect(verdict).toEqual({ kind: "move", reason: "ice_failed" });
  });
});
