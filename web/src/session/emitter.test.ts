import { afterEach, expect, test, vi } from "vitest";
import { Emitter } from "./emitter";

interface Events {
  tick: number;
}
afterEach(() => vi.unstubAllGlobals());

test("a listener that throws is reported and stops neither the others nor the sender", () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (error: unknown) => reported.push(error));
  const emitter = new Emitter<Events>();
  const heard: number[] = [];
  const error = new Error("a page's mistake");
  emitter.on("tick", () => {
    throw error;
  });
  emitter.on("tick", (value) => heard.push(value));
  emitter.emit("tick", 1);
  expect(heard).toEqual([1]);
  expect(reported).toEqual([error]);
});

test("a listener can be taken away, also from within", () => {
  const emitter = new Emitter<Events>();
  const heard: number[] = [];
  const off = emitter.on("tick", (value) => {
    heard.push(value);
    off();
  });
  emitter.emit("tick", 1);
  emitter.emit("tick", 2);
  expect(heard).toEqual([1]);
});
