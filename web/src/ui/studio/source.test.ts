import { expect, test } from "vitest";
import { cameraNotice, explainSourceError, firstThat } from "./source";

const named = (name: string, message = "no") => Object.assign(new Error(message), { name });
const missing = (error: unknown) => error instanceof Error && error.name === "NotFoundError";

test("a machine without a microphone is asked for the camera alone", async () => {
  const asked: string[] = [];
  const { result, attempt } = await firstThat(["both", "video", "audio"], missing, async (wanted) => {
    asked.push(wanted);
    if (wanted === "both") throw named("NotFoundError");
    return "stream";
  });
  expect([result, attempt]).toEqual(["stream", "video"]);
  expect(asked).toEqual(["both", "video"]);
});

test("a person who refused is not asked again with less", async () => {
  const asked: string[] = [];
  const opened = firstThat(["both", "video"], missing, async (wanted) => {
    asked.push(wanted);
    throw named("NotAllowedError");
  });
  await expect(opened).rejects.toThrow("no");
  expect(asked).toEqual(["both"]);
});

test("a machine with nothing says so once everything was tried", async () => {
  const opened = firstThat(["both", "video", "audio"], missing, () => Promise.reject(named("NotFoundError")));
  await expect(opened).rejects.toMatchObject({ name: "NotFoundError" });
});

test("what is missing is named for what viewers notice", () => {
  expect(cameraNotice({ video: true, audio: true })).toBe("");
  expect(cameraNotice({ video: true, audio: false })).toMatch(/do not hear you/);
  expect(cameraNotice({ video: false, audio: true })).toMatch(/do not see you/);
});

test("a blocked camera is explained where to allow it, by the browser or by the system", () => {
  expect(explainSourceError(named("NotAllowedError", "Permission denied"), "camera")).toMatch(
    /icon beside the address/,
  );
  expect(explainSourceError(named("NotAllowedError", "Permission denied by system"), "camera")).toMatch(
    /privacy settings/,
  );
  expect(explainSourceError(named("NotAllowedError", "Permission denied by system"), "screen")).toMatch(
    /screen recording/,
  );
});

test("closing the screen's dialog is no error", () => {
  expect(explainSourceError(named("NotAllowedError", "Permission denied by user"), "screen")).toBe("");
});

test.each(["NotFoundError", "NotReadableError", "OverconstrainedError"])("%s says what to do", (name) => {
  expect(explainSourceError(named(name), "camera")).toMatch(/\.$/);
});
