/** Finds room for words on the map, the important ones first. Pure: boxes in, places out. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export function overlaps(one: Box, other: Box): boolean {
  return (
    one.x < other.x + other.width &&
    other.x < one.x + one.width &&
    one.y < other.y + other.height &&
    other.y < one.y + one.height
  );
}

export interface LabelWish {
  readonly key: string;
  readonly box: Box;
  /** Higher first; 0 only where there is room in plenty. */
  readonly priority: number;
}

/** Keys of the labels that can be shown without covering each other or `taken`. */
export function placeLabels(wishes: readonly LabelWish[], taken: readonly Box[]): ReadonlySet<string> {
  const kept: Box[] = [...taken];
  const shown = new Set<string>();
  for (const wish of [...wishes].sort((left, right) => right.priority - left.priority)) {
    if (kept.some((box) => overlaps(box, wish.box))) continue;
    kept.push(wish.box);
    shown.add(wish.key);
  }
  return shown;
}

export type NameSide = "around" | "right" | "left";

export interface NameWish {
  readonly key: string;
  readonly x: number;
  readonly y: number;
  readonly nameWidth: number;
  readonly detailWidth: number;
}

export interface NamePlace {
  readonly side: NameSide;
  /** Whether the second line finds room, too. */
  readonly detail: boolean;
  readonly boxes: readonly Box[];
}

const SIDES: readonly NameSide[] = ["around", "right", "left"];
const LINE_PX = 18;
const DOT_PX = 10;

/** Where each edge's name and detail go: above and below its dot, beside it, or the name alone; inside the map's width. */
export function placeNames(wishes: readonly NameWish[], mapWidth: number): ReadonlyMap<string, NamePlace> {
  const kept: Box[] = wishes.map(({ x, y }) => ({
    x: x - DOT_PX,
    y: y - DOT_PX,
    width: 2 * DOT_PX,
    height: 2 * DOT_PX,
  }));
  const places = new Map<string, NamePlace>();
  for (const wish of wishes) {
    const options = [true, false].flatMap((detail) => SIDES.map((side) => option(wish, side, detail)));
    const fits = (box: Box) => box.x >= 0 && box.x + box.width <= mapWidth;
    const free = options.find(({ boxes }) =>
      boxes.every((box) => fits(box) && kept.every((other) => !overlaps(box, other))),
    );
    // An edge without a name would be worse than a name over another.
    const place = free ?? option(wish, "around", false);
    kept.push(...place.boxes);
    places.set(wish.key, place);
  }
  return places;
}

function option({ x, y, nameWidth, detailWidth }: NameWish, side: NameSide, detail: boolean): NamePlace {
  const line = (left: number, top: number, width: number): Box => ({ x: left, y: top, width, height: LINE_PX });
  const beside = (width: number) => (side === "left" ? x - DOT_PX - 5 - width : x + DOT_PX + 5);
  const name =
    side === "around" ? line(x - nameWidth / 2, y - 36, nameWidth) : line(beside(nameWidth), y - 16, nameWidth);
  const more =
    side === "around" ? line(x - detailWidth / 2, y + 13, detailWidth) : line(beside(detailWidth), y + 1, detailWidth);
  return { side, detail, boxes: detail ? [name, more] : [name] };
}
