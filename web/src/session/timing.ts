/** Waiting that ends early: when the session is over, or when there is reason to try again at once. */

/** Resolves after `milliseconds`, or at once when `signal` fires or `wake` is called; never rejects. */
export class Pause {
  #end: (() => void) | null = null;

  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#end = null;
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#end = done;
      signal.addEventListener("abort", done);
    });
  }

  /** Ends the present wait, if there is one. */
  wake(): void {
    this.#end?.();
  }
}

export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Pause().wait(milliseconds, signal);
}

/** Calls `listener` when the network came back or the page came to the front, until `signal` fires. */
export function onReturn(listener: () => void, signal: AbortSignal): void {
  addEventListener("online", listener, { signal });
  const handleVisibility = () => {
    if (document.visibilityState === "visible") listener();
  };
  document.addEventListener("visibilitychange", handleVisibility, { signal });
}
