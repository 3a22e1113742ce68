/** `GET /v1/rooms/{room}/join`: which edges may serve this person, nearest first. */
import type { EdgeAddress } from "./messages";
import { ProblemError, readProblem } from "./problem";

export interface Join {
  readonly room: string;
  readonly edge_id: string;
  readonly live: boolean;
  readonly edges: readonly EdgeAddress[];
  readonly token_required: boolean;
}

export async function joinRoom(edgeUrl: string, room: string, signal?: AbortSignal): Promise<Join> {
  const url = new URL(`/v1/rooms/${encodeURIComponent(room)}/join`, edgeUrl);
  const response = await fetch(url, { signal: signal ?? null, cache: "no-store" });
  if (!response.ok) throw new ProblemError(await readProblem(response));
  return (await response.json()) as Join;
}

/** Whether an edge's process answers at all. Used to tell a dead edge from a silent host. */
export async function edgeAnswers(edgeUrl: string, timeoutMs: number): Promise<boolean> {
  try {
    // `no-cors`: only the arrival of an answer counts, and an edge need not open /livez to other origins.
    await fetch(new URL("/livez", edgeUrl), {
      mode: "no-cors",
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
    return true;
  } catch {
    return false;
  }
}
