/**
 * Gives each comment a lane such that no two ever overlap. Every comment crosses in the same time, so a longer one is
 * faster; it may enter a lane when the one before has entered whole, and would not be caught up before it has left.
 */
export interface LaneGeometry {
  readonly lanes: number;
  readonly stageWidthPx: number;
  /** Time from the first letter at the right edge to the last letter past the left one. */
  readonly flightMs: number;
  readonly gapPx: number;
}

export interface Flight {
  readonly lane: number;
  readonly durationMs: number;
}

interface LastInLane {
  /** When its tail, with the gap behind it, has entered the stage. */
  readonly enteredAtMs: number;
  /** When its tail, with the gap behind it, has left the stage. */
  readonly leftAtMs: number;
}

export class LaneAllocator {
  #geometry: LaneGeometry;
  #last: (LastInLane | undefined)[] = [];

  constructor(geometry: LaneGeometry) {
    this.#geometry = geometry;
  }

  /** A stage of another size. What flies on the old one is forgotten: its places no longer mean anything. */
  resize(geometry: LaneGeometry): void {
    this.#geometry = geometry;
    this.#last = [];
  }

  /** The topmost free lane, or null when the stage is full at this moment. */
  place(widthPx: number, nowMs: number): Flight | null {
    const { lanes, stageWidthPx, flightMs, gapPx } = this.#geometry;
    const speed = (stageWidthPx + widthPx) / flightMs;
    const reachesLeftAtMs = nowMs + stageWidthPx / speed;
    for (let lane = 0; lane < lanes; lane += 1) {
      const last = this.#last[lane];
      if (last !== undefined && (nowMs < last.enteredAtMs || reachesLeftAtMs < last.leftAtMs)) continue;
      this.#last[lane] = {
        enteredAtMs: nowMs + (widthPx + gapPx) / speed,
        leftAtMs: nowMs + (stageWidthPx + widthPx + gapPx) / speed,
      };
      return { lane, durationMs: flightMs };
    }
    return null;
  }
}
