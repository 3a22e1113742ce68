import { describe, expect, test } from "vitest";
import { Takeover } from "./takeover";

describe("an edge that names our incarnation", () => {
  test("our own announcement is no takeover, however late it comes", () => {
    const takeover = new Takeover();
    takeover.handleLive(1, 100);
    takeover.handleIncarnation(100, 40);
    expect(takeover.isReplaced(60)).toBe(false);
    expect(takeover.handleEnd()).toBe("edge_lost");
  });

  test("a higher one is another host, even within the first second", () => {
    const takeover = new Takeover();
    takeover.handleLive(1, 100);
    takeover.handleIncarnation(101, 1.2);
    expect(takeover.isReplaced(2.1)).toBe(false);
    expect(takeover.isReplaced(2.3)).toBe(true);
    expect(takeover.handleEnd()).toBe("replaced");
  });

  test("a room that another host took while our answer was on its way is theirs", () => {
    const takeover = new Takeover();
    takeover.handleIncarnation(101, 0.5);
    takeover.handleLive(1, 100);
    expect(takeover.isReplaced(2)).toBe(true);
  });

  test("after a reconnect the former takeover is forgotten", () => {
    const takeover = new Takeover();
    takeover.handleLive(1, 100);
    takeover.handleIncarnation(101, 5);
    takeover.handleEnd();
    takeover.handleLive(9, 102);
    expect(takeover.isReplaced(60)).toBe(false);
  });
});

describe("an edge that does not", () => {
  test("the incarnation announced around going live is one's own, before or after", () => {
    const before = new Takeover();
    before.handleIncarnation(100, 0.9);
    before.handleLive(1, null);
    expect(before.handleEnd()).toBe("edge_lost");

    const after = new Takeover();
    after.handleLive(1, null);
    after.handleIncarnation(100, 1.4);
    expect(after.handleEnd()).toBe("edge_lost");
  });

  test("a higher incarnation later is another host, believed only when our session ends too", () => {
    const takeover = new Takeover();
    takeover.handleLive(1, null);
    takeover.handleIncarnation(100, 1.2);
    takeover.handleIncarnation(101, 60);
    expect(takeover.isReplaced(120)).toBe(false);
    expect(takeover.handleEnd()).toBe("replaced");
  });
});

test("the end of a room and its old news change nothing", () => {
  const takeover = new Takeover();
  takeover.handleIncarnation(100, 0);
  takeover.handleLive(1, null);
  takeover.handleIncarnation(0, 50);
  takeover.handleIncarnation(99, 60);
  expect(takeover.handleEnd()).toBe("edge_lost");
});

test("a session that never went live was not replaced", () => {
  const takeover = new Takeover();
  takeover.handleIncarnation(100, 0);
  expect(takeover.handleEnd()).toBe("edge_lost");
});
