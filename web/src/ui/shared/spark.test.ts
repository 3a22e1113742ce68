import { expect, test } from "vitest";
import { sparkPath, sparkX } from "./spark";

const SIZE = { width: 90, height: 20, points: 10 };

test("one sample is no line yet", () => {
  expect(sparkPath([], SIZE, 1)).toBe("");
  expect(sparkPath([4], SIZE, 1)).toBe("");
});

test("the newest sample stands at the right edge, older ones to its left", () => {
  expect(sparkX(9, 10, SIZE)).toBe(90);
  expect(sparkX(0, 10, SIZE)).toBe(0);
  expect(sparkPath([1, 2], SIZE, 1)).toBe("M80.0 10.0L90.0 0.0");
});

test("headroom keeps the greatest value below the top, and nothing but zeros stays at the bottom", () => {
  expect(sparkPath([5, 10], SIZE, 2)).toBe("M80.0 15.0L90.0 10.0");
  expect(sparkPath([0, 0], SIZE, 1.2)).toBe("M80.0 20.0L90.0 20.0");
});
