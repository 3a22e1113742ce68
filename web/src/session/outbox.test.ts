import { expect, test } from "vitest";
import { Outbox, UNANSWERED_MAX_MS } from "./outbox";

const comment = (id: string, saidAtMs = 0) => ({ id, text: id, color: undefined, mediaTimeMs: null, saidAtMs });
const ids = (comments: readonly { readonly id: string }[]) => comments.map(({ id }) => id);
const filled = (...names: string[]) => {
  const outbox = new Outbox();
  for (const name of names) outbox.add(comment(name));
  return outbox;
};

test("what was not answered is sent again on the next socket, in order and under the same id", () => {
  const outbox = filled("a", "b", "c");
  outbox.handleAccepted("b");
  expect(ids(outbox.handleOpen())).toEqual(["a", "c"]);
  expect(ids(outbox.handleOpen())).toEqual(["a", "c"]);
});

test("a comment whose moment has passed is given up once, and not sent again", () => {
  const outbox = filled("a");
  expect(outbox.pollGivenUp(UNANSWERED_MAX_MS - 1)).toEqual([]);
  expect(ids(outbox.pollGivenUp(UNANSWERED_MAX_MS))).toEqual(["a"]);
  expect(outbox.pollGivenUp(UNANSWERED_MAX_MS)).toEqual([]);
  expect(outbox.handleOpen()).toEqual([]);
});

test("a room that cannot be reached for a moment gets the comment again when it said so", () => {
  const outbox = filled("a");
  expect(outbox.handleRejected("a", "unreachable", 1_000, 2_000)).toBeNull();
  expect(outbox.pollDue(2_999)).toEqual([]);
  expect(ids(outbox.pollDue(3_000))).toEqual(["a"]);
  expect(outbox.pollDue(3_001)).toEqual([]);
});

test("a retry that would come too late is no retry", () => {
  expect(filled("a").handleRejected("a", "room_busy", 2_000, 9_000)?.id).toBe("a");
});

test("a refusal that concerns the person or the text is final", () => {
  for (const reason of ["too_fast", "too_long"]) {
    const outbox = filled("a");
    expect(outbox.handleRejected("a", reason, 500, 0)?.text).toBe("a");
    expect(outbox.handleOpen()).toEqual([]);
  }
});

test("at the bound the oldest is given up, never silently forgotten", () => {
  const outbox = filled(...Array.from({ length: 18 }, (_, index) => `c${index}`));
  expect(ids(outbox.pollGivenUp(1))).toEqual(["c0", "c1"]);
  expect(outbox.handleOpen()).toHaveLength(16);
});

test("a refusal of what was given up already is not told twice", () => {
  const outbox = filled("a");
  outbox.pollGivenUp(UNANSWERED_MAX_MS);
  expect(outbox.handleRejected("a", "too_long", undefined, UNANSWERED_MAX_MS)).toBeNull();
});
