import { expect, test } from "vitest";
import { overlaps, placeLabels, placeNames } from "./labels";

const box = (x: number, y: number) => ({ x, y, width: 50, height: 20 });
const name = (key: string, x: number, y: number) => ({ key, x, y, nameWidth: 30, detailWidth: 60 });

test("of two labels in one place the important one is shown", () => {
  const shown = placeLabels(
    [
      { key: "good", box: box(0, 0), priority: 0 },
      { key: "bad", box: box(10, 5), priority: 2 },
      { key: "far", box: box(200, 0), priority: 0 },
    ],
    [],
  );
  expect([...shown].sort()).toEqual(["bad", "far"]);
});

test("a label does not cover what stands there already", () => {
  expect(placeLabels([{ key: "a", box: box(0, 0), priority: 3 }], [box(20, 10)]).size).toBe(0);
});

test("a lone edge has its name above and its load below", () => {
  expect(placeNames([name("sg", 100, 100)], 400).get("sg")).toMatchObject({ side: "around", detail: true });
});

test("edges next to each other make room: their words do not overlap", () => {
  const places = placeNames([name("fra", 100, 100), name("ams", 118, 96), name("lhr", 82, 92)], 400);
  const boxes = [...places].flatMap(([key, place]) => place.boxes.map((made) => ({ key, made })));
  for (const one of boxes) {
    for (const other of boxes) {
      if (one.key !== other.key) expect(overlaps(one.made, other.made), `${one.key} over ${other.key}`).toBe(false);
    }
  }
});

test("twenty edges in one spot all keep a name", () => {
  const wishes = Array.from({ length: 20 }, (_, index) => name(`e${index}`, 100 + index, 100));
  expect(placeNames(wishes, 400).size).toBe(20);
});

test("at the rim of the map words turn inwards", () => {
  const [place] = [...placeNames([name("syd", 392, 100)], 400).values()];
  expect(place).toMatchObject({ side: "left", detail: true });
});
