/**
 * The HTTP half of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): POST an offer, keep the resource that `Location`
 * names, DELETE it on leaving. Both protocols share this exchange; the SDP inside differs.
 */
import { ProblemError, readProblem } from "./problem";

export interface OfferRequest {
  readonly url: string;
  readonly sdp: string;
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface OfferAnswer {
  readonly sdp: string;
  /** Absolute URL of the session; DELETE ends it. */
  readonly resource: string;
  /** Number of this publication, higher than every earlier one of the room; null for a viewer or an edge that does not say. */
  readonly incarnation: number | null;
}

/** An answer that comes later than this is of no use to anybody, and the edge has given its session up itself. */
const LATE_ANSWER_MS = 15_000;

/** Path of a room's publish endpoint on an edge. */
export const whipUrl = (edgeUrl: string, room: string): string => endpoint(edgeUrl, "whip", room);

/** Path of a room's view endpoint on an edge. */
export const whepUrl = (edgeUrl: string, room: string): string => endpoint(edgeUrl, "whep", room);

/**
 * Throws ProblemError for a refusal, TypeError when the edge cannot be reached, and `signal.reason` as soon as `signal`
 * fires. The request itself is not cut off then: the edge may have made the session already, so the answer is awaited
 * and the session ended, or a room would keep a host who is not there.
 */
export async function postOffer(request: OfferRequest): Promise<OfferAnswer> {
  const { signal, token } = request;
  signal?.throwIfAborted();
  const answered = exchange(request);
  if (signal === undefined) return answered;
  return new Promise((resolve, reject) => {
    const give = () => {
      reject(signal.reason);
      answered.then(({ resource }) => deleteResource(resource, token)).catch(() => undefined);
    };
    signal.addEventListener("abort", give, { once: true });
    answered
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", give))
      .catch(() => undefined);
  });
}

async function exchange({ url, sdp, token }: OfferRequest): Promise<OfferAnswer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/sdp", ...bearer(token) },
    body: sdp,
    signal: AbortSignal.timeout(LATE_ANSWER_MS),
    cache: "no-store",
  });
  if (response.status !== 201) throw new ProblemError(await readProblem(response));
  return { sdp: await response.text(), resource: resolveLocation(response), incarnation: readIncarnation(response) };
}

/** Ends a session. `keepalive` lets the request outlive the page; an edge that is gone needs no goodbye. */
export async function deleteResource(resource: string, token?: string): Promise<void> {
  try {
    await fetch(resource, { method: "DELETE", headers: bearer(token), keepalive: true });
  } catch {
    // The edge notices by itself: 30 s without an ICE check end the session.
  }
}

/** RFC 9725 §4.2: `Location` may be relative, and is relative to the URL that answered, not to the page. */
export function resolveLocation(response: Pick<Response, "headers" | "url">): string {
  const location = response.headers.get("location");
  if (location === null) {
    throw new ProblemError({
      type: "about:blank",
      title: "The answer names no session",
      status: 502,
      detail: "The edge accepted the offer without a Location header, or does not expose it to this page (CORS).",
      reason: "no_location",
    });
  }
  return new URL(location, response.url).href;
}

function readIncarnation({ headers }: Response): number | null {
  const value = Number(headers.get("tradewind-incarnation") ?? Number.NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

function endpoint(edgeUrl: string, kind: "whip" | "whep", room: string): string {
  return new URL(`/${kind}/${encodeURIComponent(room)}`, edgeUrl).href;
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
