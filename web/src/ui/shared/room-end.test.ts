import { expect, test } from "vitest";
import { GOODBYE_REASONS } from "../../wire/messages";
import { explainRoomEnd } from "./room-end";

test("every goodbye says what to do, and a room that goes on says nothing", () => {
  for (const reason of [...GOODBYE_REASONS, "a reason of tomorrow"]) expect(explainRoomEnd(reason)).toMatch(/\.$/);
  expect(explainRoomEnd(null)).toBe("");
});

test("an expired token is told from a wrong one", () => {
  expect(explainRoomEnd("token_expired")).not.toBe(explainRoomEnd("token_wrong_room"));
});
