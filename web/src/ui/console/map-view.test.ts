import { expect, test } from "vitest";
import { bend, middleLongitude } from "./map-view";

test.each([
  [[103.8, 8.7, -77.5], 13.15],
  [[8.7], 8.7],
  [[139.7, -122.4], -171.35],
  [[], 0],
])("the middle of %s is %s", (longitudes, middle) => {
  expect(middleLongitude(longitudes)).toBeCloseTo(middle);
});

test("a bow bends up when nothing is in the way, and is the same both ways", () => {
  const there = bend([0, 100], [200, 100], []);
  expect(there.control).toEqual([100, 56]);
  expect(there.middle).toEqual([100, 78]);
  expect(bend([200, 100], [0, 100], [])).toEqual(there);
});

test("a bow bends away from the other edges", () => {
  expect(bend([0, 100], [200, 100], [[90, 40]]).middle[1]).toBeGreaterThan(100);
  expect(bend([0, 100], [200, 100], [[90, 400]]).middle[1]).toBeLessThan(100);
});
