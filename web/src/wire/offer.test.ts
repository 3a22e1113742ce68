import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { postOffer } from "./offer";

const URL_ = "https://fra.example/whip/demo";
const CREATED = () => {
  const response = new Response("v=0", {
    status: 201,
    headers: { location: "/whip/demo/4f2a", "tradewind-incarnation": "1795000000123" },
  });
  Object.defineProperty(response, "url", { value: URL_ });
  return response;
};
let requests: { readonly method: string; readonly url: string }[];
let answer: (response: Response) => void;
let fail: (error: unknown) => void;

beforeEach(() => {
  requests = [];
  vi.stubGlobal("fetch", (url: string | URL, init: RequestInit = {}) => {
    requests.push({ method: init.method ?? "GET", url: String(url) });
    if (init.method === "DELETE") return Promise.resolve(new Response());
    return new Promise<Response>((resolve, reject) => {
      answer = resolve;
      fail = reject;
    });
  });
});
afterEach(() => vi.unstubAllGlobals());

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("an answer brings the session's address and the publication's number", async () => {
  const answered = postOffer({ url: URL_, sdp: "v=0", signal: new AbortController().signal });
  answer(CREATED());
  expect(await answered).toEqual({
    sdp: "v=0",
    resource: "https://fra.example/whip/demo/4f2a",
    incarnation: 1_795_000_000_123,
  });
  expect(requests).toHaveLength(1);
});

test("leaving while the answer is on its way ends the session that the edge has made meanwhile", async () => {
  const leaving = new AbortController();
  const answered = postOffer({ url: URL_, sdp: "v=0", signal: leaving.signal });
  leaving.abort(new Error("left"));
  await expect(answered).rejects.toThrow("left");
  expect(requests.map(({ method }) => method)).toEqual(["POST"]);
  answer(CREATED());
  await settled();
  expect(requests[1]).toEqual({ method: "DELETE", url: "https://fra.example/whip/demo/4f2a" });
});

test("leaving an edge that never answers leaves nothing behind", async () => {
  const leaving = new AbortController();
  const answered = postOffer({ url: URL_, sdp: "v=0", signal: leaving.signal });
  leaving.abort(new Error("left"));
  await expect(answered).rejects.toThrow("left");
  fail(new TypeError("unreachable"));
  await settled();
  expect(requests).toHaveLength(1);
});

test("who has left already asks for nothing", async () => {
  await expect(postOffer({ url: URL_, sdp: "v=0", signal: AbortSignal.abort() })).rejects.toThrow();
  expect(requests).toEqual([]);
});
