import { expect, test } from "vitest";
import { reasonLines } from "./reason";

const said = (reason: string) => reasonLines(reason).map(({ label, text }) => `${label}: ${text}`);

test("the direct way is shown with what it was chosen against", () => {
  expect(said("direct 160 ms; via iad 320 ms")).toEqual([
    "Chosen: direct, 160 ms there and back",
    "Next best: via iad, 320 ms there and back",
  ]);
});

test("a detour is explained by the trouble on the direct way", () => {
  expect(said("direct sg–fra +501 ms, loses 10.6 %: via iad 580 ms")).toEqual([
    "Chosen: via iad, 580 ms there and back",
    "Because: direct sg–fra is 501 ms slower than it can be and loses 10.6 %",
  ]);
  expect(said("direct sg–fra is down: via bom, dxb 320 ms")).toEqual([
    "Chosen: via bom, dxb, 320 ms there and back",
    "Because: direct sg–fra is down",
  ]);
});

test("a choice among bad ones says that it is one", () => {
  expect(said("direct 368 ms; via fra 877 ms; least bad, 0.015 % of packets come too late to repair")[2]).toBe(
    "But: no path is clean: on this one 0.015 % of packets come too late to repair",
  );
});

test("words that are not known are shown as they came", () => {
  expect(said("no usable path, keeps the last one")).toEqual([": No usable path, keeps the last one."]);
  expect(said("direct, not measured yet")).toEqual([": Direct, not measured yet."]);
  expect(said("")).toEqual([": No reason given yet."]);
});
