/** Waiting times between attempts: double each time, capped, with jitter so that a room does not come back as one wave. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Share of the wait that is random, 0–1. */
  readonly jitterRatio: number;
  readonly random?: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #attempts = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The wait before the next attempt, in milliseconds. */
  next(): number {
    const { firstMs, maxMs, jitterRatio, random = Math.random } = this.#options;
    const full = Math.min(maxMs, firstMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return full * (1 - jitterRatio * random());
  }

  reset(): void {
    this.#attempts = 0;
  }
}
