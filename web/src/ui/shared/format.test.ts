import { expect, test } from "vitest";
import { formatBitrate, formatDuration, formatMs, formatRatio } from "./format";

test.each([
  [null, "–"],
  [0, "0 ms"],
  [1.26, "1.3 ms"],
  [160.4, "160 ms"],
  [1_240, "1.2 s"],
  [12_400, "12 s"],
])("%s ms reads %s", (value, text) => expect(formatMs(value)).toBe(text));

test.each([
  [null, "–"],
  [0, "0 %"],
  [0.0001, "< 0.1 %"],
  [0.0123, "1.2 %"],
  [0.256, "26 %"],
])("a ratio of %s reads %s", (value, text) => expect(formatRatio(value)).toBe(text));

test.each([
  [0, "–"],
  [812_345, "812 kbit/s"],
  [2_480_000, "2.5 Mbit/s"],
])("%s bit/s reads %s", (value, text) => expect(formatBitrate(value)).toBe(text));

test.each([
  [0, "0:00"],
  [9.9, "0:09"],
  [134, "2:14"],
  [3_734, "1:02:14"],
])("%s s reads %s", (value, text) => expect(formatDuration(value)).toBe(text));
