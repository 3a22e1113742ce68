import { expect, test } from "vitest";
import vectors from "../../../protos/room/v1/vectors.json";
import { Backoff } from "./backoff";
import { parseSnapshot } from "./console-feed";
import { MessageInvalid, parseClientMessage, parseServerMessage } from "./messages";
import { resolveLocation, whepUrl } from "./offer";
import { ProblemError, readProblem } from "./problem";
import { roomSocketUrl } from "./room-socket";

interface Vector {
  readonly name: string;
  readonly union: string;
  readonly text: string;
  readonly valid: boolean;
  readonly path?: string;
  readonly normal?: unknown;
}

test.each((vectors.vectors as readonly Vector[]).map((vector) => [vector.name, vector] as const))(
  "room message: %s",
  (_, { union, text, valid, path, normal }) => {
    const parse = union === "ClientMessage" ? parseClientMessage : parseServerMessage;
    if (valid) {
      expect(parse(text)).toEqual(normal ?? JSON.parse(text));
      return;
    }
    let thrown: unknown;
    try {
      parse(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(MessageInvalid);
    expect((thrown as MessageInvalid).path).toBe(path);
  },
);

const answered = (location: string | null, url = "https://fra.example/whep/demo") => ({
  url,
  headers: new Headers(location === null ? {} : { location }),
});

test("a relative Location belongs to the URL that answered", () => {
  expect(resolveLocation(answered("/whep/demo/4f2a"))).toBe("https://fra.example/whep/demo/4f2a");
  expect(resolveLocation(answered("https://iad.example/whep/demo/1"))).toBe("https://iad.example/whep/demo/1");
});

test("an answer without Location is an error, not a session that cannot be ended", () => {
  expect(() => resolveLocation(answered(null))).toThrow(ProblemError);
});

test("a room's name cannot leave its place in a URL", () => {
  expect(whepUrl("http://127.0.0.1:7780", "a/../b?c")).toBe("http://127.0.0.1:7780/whep/a%2F..%2Fb%3Fc");
  expect(roomSocketUrl("https://fra.example", "demo")).toBe("wss://fra.example/v1/rooms/demo/socket");
});

test("a refusal carries the edge's own words", async () => {
  const body = {
    type: "about:blank",
    title: "Not Acceptable",
    status: 406,
    detail: "offer H264 or VP8",
    reason: "no_codec",
  };
  const problem = await readProblem(new Response(JSON.stringify(body), { status: 406 }));
  expect(problem).toEqual(body);
  expect(new ProblemError(problem).isOurs).toBe(true);
});

test("a refusal without a problem body is named by its status and another edge is worth a try", async () => {
  const problem = await readProblem(new Response("<html>", { status: 503, statusText: "Service Unavailable" }));
  expect(problem.reason).toBe("http_503");
  expect(new ProblemError(problem).isOurs).toBe(false);
});

test("waits double up to the cap and start over after success", () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1_000, jitterRatio: 0.5, random: () => 0 });
  expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test("jitter only shortens a wait", () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 100, jitterRatio: 0.5, random: () => 1 });
  expect(backoff.next()).toBe(50);
});

test("a snapshot without optional lists is still a snapshot, and anything else is none", () => {
  expect(parseSnapshot('{"edges":[]}')).toMatchObject({ links: [], streams: [], demo: null });
  for (const text of ["", "null", "[]", '{"links":[]}']) expect(parseSnapshot(text)).toBeNull();
});
