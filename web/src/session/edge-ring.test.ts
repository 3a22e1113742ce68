import { expect, test } from "vitest";
import { EdgeRing } from "./edge-ring";

const edge = (edge_id: string) => ({ edge_id, url: `http://${edge_id}` });
const three = () => new EdgeRing([edge("sg"), edge("fra"), edge("iad")]);

test("the nearest edge is first and the next follows when it fails", () => {
  const ring = three();
  expect(ring.current.edge_id).toBe("sg");
  expect(ring.moveOn(10).edge_id).toBe("fra");
  expect(ring.moveOn(11).edge_id).toBe("iad");
});

test("an edge that failed lately is passed over", () => {
  const ring = three();
  ring.moveOn(10);
  ring.moveOn(11);
  ring.moveOn(60);
  expect(ring.current.edge_id).toBe("sg");
  expect(ring.moveOn(61).edge_id).toBe("fra");
});

test("what comes next is told in the order of use, with edges that failed lately at the end", () => {
  const ring = three();
  const next = (now: number) => ring.next(now).map(({ edge_id }) => edge_id);
  expect(next(10)).toEqual(["fra", "iad"]);
  ring.moveOn(10);
  // The edge moved to names itself first and the failed one second.
  ring.apply([edge("fra"), edge("sg"), edge("iad")]);
  expect(next(11)).toEqual(["iad", "sg"]);
  expect(next(41)).toEqual(["sg", "iad"]);
});

test("when all failed lately, the one that failed first is tried again and the ring says so", () => {
  const ring = three();
  ring.moveOn(10);
  ring.moveOn(11);
  expect(ring.exhausted(11)).toBe(false);
  ring.moveOn(12);
  expect(ring.exhausted(12)).toBe(true);
  expect(ring.current.edge_id).toBe("sg");
});

test("a newer list keeps the current edge current, listed or not", () => {
  const ring = three();
  ring.apply([edge("fra"), edge("sg")]);
  expect(ring.current.edge_id).toBe("sg");
  ring.apply([edge("dxb"), edge("bom")]);
  expect(ring.current.edge_id).toBe("sg");
  expect(ring.moveOn(1).edge_id).toBe("dxb");
});

test("an empty list changes nothing", () => {
  const ring = three();
  ring.apply([]);
  expect(ring.next(1)).toHaveLength(2);
});

test("an edge chosen from outside becomes the current one, and the ring goes on from there", () => {
  const ring = three();
  ring.goTo(edge("fra"));
  expect(ring.moveOn(1).edge_id).toBe("iad");
  ring.goTo(edge("dxb"));
  expect(ring.current.edge_id).toBe("dxb");
  expect(ring.next(1)).toHaveLength(3);
});

test("an edge that restarted is used again once its failure is old", () => {
  const ring = new EdgeRing([edge("sg"), edge("fra")]);
  ring.moveOn(0);
  expect(ring.moveOn(31).edge_id).toBe("sg");
});

test("a lone edge is tried again and again", () => {
  const ring = new EdgeRing([edge("sg")]);
  expect(ring.moveOn(0).edge_id).toBe("sg");
  expect(ring.exhausted(1)).toBe(true);
});
