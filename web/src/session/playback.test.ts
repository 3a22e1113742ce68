import { expect, test } from "vitest";
import { startPlayback } from "./playback";

/** An element whose browser allows what `allowed` says. */
function element(muted: boolean, allowed: "all" | "muted" | "none", error = "NotAllowedError") {
  const made = {
    muted,
    calls: 0,
    play: async () => {
      made.calls += 1;
      if (allowed === "all" || (allowed === "muted" && made.muted)) return;
      throw new DOMException("no", error);
    },
  };
  return made;
}

test("sound that is allowed stays on", async () => {
  const video = element(false, "all");
  expect(await startPlayback(video)).toBe("playing");
  expect(video.muted).toBe(false);
});

test("refused sound is taken away, and the picture plays", async () => {
  const video = element(false, "muted");
  expect(await startPlayback(video)).toBe("muted");
  expect(video.muted).toBe(true);
});

test("a browser that saves power plays nothing before a gesture", async () => {
  expect(await startPlayback(element(true, "none"))).toBe("refused");
  expect(await startPlayback(element(false, "none"))).toBe("refused");
});

test("a start that a newer picture interrupted is no refusal, and mutes nothing", async () => {
  const video = element(false, "none", "AbortError");
  expect(await startPlayback(video)).toBe("superseded");
  expect(video).toMatchObject({ muted: false, calls: 1 });
});
