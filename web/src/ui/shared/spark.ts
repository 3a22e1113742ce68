/** The last samples of a number as a small line: the newest stands at the right edge, whatever their count. Pure. */
export interface SparkSize {
  readonly width: number;
  readonly height: number;
  /** How many samples fill the width. */
  readonly points: number;
}

/** The SVG path of the line, from zero at the bottom to `headroom` times the greatest value; empty below two values. */
export function sparkPath(values: readonly number[], size: SparkSize, headroom: number): string {
  if (values.length < 2) return "";
  const top = Math.max(...values) * headroom || 1;
  return values
    .map((value, index) => {
      const x = sparkX(index, values.length, size).toFixed(1);
      return `${index === 0 ? "M" : "L"}${x} ${(size.height - (value / top) * size.height).toFixed(1)}`;
    })
    .join("");
}

/** Where the sample `index` of `count` stands. */
export function sparkX(index: number, count: number, { width, points }: SparkSize): number {
  return width - (count - 1 - index) * (width / (points - 1));
}
