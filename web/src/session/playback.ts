/**
 * Starting playback where browsers may refuse it (HTML §4.8.11.8): with sound if it may have sound, else muted, and
 * only as a last resort not at all.
 */
export type Started =
  | "playing"
  /** Plays, but the sound had to go; a gesture may bring it back. */
  | "muted"
  /** Does not play before a gesture. */
  | "refused"
  /** Another picture took its place meanwhile; that one's own start tells. */
  | "superseded";

export async function startPlayback(element: Pick<HTMLMediaElement, "muted" | "play">): Promise<Started> {
  const first = await attempt(element);
  if (first !== "refused" || element.muted) return first;
  element.muted = true;
  const second = await attempt(element);
  return second === "playing" ? "muted" : second;
}

async function attempt(element: Pick<HTMLMediaElement, "play">): Promise<"playing" | "refused" | "superseded"> {
  try {
    await element.play();
    return "playing";
  } catch (error) {
    return error instanceof Error && error.name === "NotAllowedError" ? "refused" : "superseded";
  }
}
