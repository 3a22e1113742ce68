import { expect, test } from "vitest";
import { Progress } from "./progress";

const sample = (packets: number, videoPackets: number, framesDecoded: number) => ({
  packets,
  videoPackets,
  framesDecoded,
});

test("with a picture, frames count and sound alone does not", () => {
  const progress = new Progress();
  expect(progress.handleSample(sample(50, 40, 0), 1_000)).toBe(0);
  expect(progress.handleSample(sample(90, 70, 2), 1_200)).toBe(2);
  expect(progress.grewAtMs).toBe(1_200);
  expect(progress.handleSample(sample(900, 70, 2), 9_000)).toBe(2);
  expect(progress.grewAtMs).toBe(1_200);
});

test("a host who sends nothing but sound is heard after three seconds", () => {
  const progress = new Progress();
  expect(progress.handleSample(sample(10, 0, 0), 0)).toBe(0);
  expect(progress.handleSample(sample(150, 0, 0), 2_900)).toBe(0);
  expect(progress.handleSample(sample(160, 0, 0), 3_000)).toBe(160);
  expect(progress.grewAtMs).toBe(3_000);
});

test("a picture that comes later counts again", () => {
  const progress = new Progress();
  progress.handleSample(sample(10, 0, 0), 0);
  progress.handleSample(sample(200, 0, 0), 4_000);
  expect(progress.handleSample(sample(240, 20, 1), 4_200)).toBe(1);
  expect(progress.handleSample(sample(260, 30, 2), 4_400)).toBe(2);
  expect(progress.grewAtMs).toBe(4_400);
});
