import { expect, test } from "vitest";
import { middleLongitude } from "./map-view";

test.each([
  [[103.8, 8.7, -77.5], 13.15],
  [[8.7], 8.7],
  [[139.7, -122.4], -171.35],
  [[], 0],
])("the middle of %s is %s", (longitudes, middle) => {
  expect(middleLongitude(longitudes)).toBeCloseTo(middle);
});
