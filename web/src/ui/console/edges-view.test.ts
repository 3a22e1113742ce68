import { expect, test } from "vitest";
import type { EdgeStatus, FleetEdge } from "../../wire/console-feed";
import { edgeText, sortEdges } from "./edges-view";

const edge = (edge_id: string, status: EdgeStatus, change: Partial<FleetEdge> = {}): FleetEdge => ({
  edge_id,
  status,
  region: "",
  latitude: 0,
  longitude: 0,
  http_url: "",
  hosts: 0,
  viewers: 0,
  cpu_ratio: 0,
  ...change,
});

test("edges in trouble stand first", () => {
  const sorted = sortEdges([edge("sg", "up"), edge("fra", "suspect"), edge("iad", "down"), edge("bom", "up")]);
  expect(sorted.map(({ edge_id }) => edge_id)).toEqual(["iad", "fra", "bom", "sg"]);
});

test("an edge says what it carries, or what is wrong with it", () => {
  expect(edgeText(edge("sg", "up", { hosts: 1, viewers: 1_200, cpu_ratio: 0.312 }))).toBe(
    "1 host, 1,200 viewers, CPU 31 %",
  );
  expect(edgeText(edge("sg", "up", { viewers: 1 }))).toBe("1 viewer, CPU 0 %");
  expect(edgeText(edge("sg", "suspect", { viewers: 9 }))).toBe("not heard from");
});
