import { expect, test } from "vitest";
import { Takeover } from "./takeover";

test("the incarnation named around going live is one's own, before or after", () => {
  const before = new Takeover();
  before.handleIncarnation(100, 0.9);
  before.handleLive(1);
  expect(before.handleEnd()).toBe("edge_lost");

  const after = new Takeover();
  after.handleLive(1);
  after.handleIncarnation(100, 1.4);
  expect(after.handleEnd()).toBe("edge_lost");
});

test("a higher incarnation later is another host", () => {
  const takeover = new Takeover();
  takeover.handleLive(1);
  takeover.handleIncarnation(100, 1.2);
  takeover.handleIncarnation(101, 60);
  expect(takeover.handleEnd()).toBe("replaced");
});

test("the end of a room and its old news change nothing", () => {
  const takeover = new Takeover();
  takeover.handleIncarnation(100, 0);
  takeover.handleLive(1);
  takeover.handleIncarnation(0, 50);
  takeover.handleIncarnation(99, 60);
  expect(takeover.handleEnd()).toBe("edge_lost");
});

test("a session that never went live was not replaced", () => {
  const takeover = new Takeover();
  takeover.handleIncarnation(100, 0);
  expect(takeover.handleEnd()).toBe("edge_lost");
});
