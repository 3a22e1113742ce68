/** What an edge or control says when it refuses: RFC 9457 `application/problem+json`, with our `reason` word. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly reason: string;
}

/** A refusal that reached us as an HTTP answer. The text is the server's own advice to the person. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }

  /** Trying another edge cannot help: the request itself is refused (bad offer, token, no common codec). */
  get isOurs(): boolean {
    const { status } = this.problem;
    return status >= 400 && status < 500 && status !== 404 && status !== 408 && status !== 429;
  }
}

/** Reads the problem body of a failed answer; a body that is something else becomes a problem named by its status. */
export async function readProblem(response: Response): Promise<Problem> {
  const plain: Problem = {
    type: "about:blank",
    title: response.statusText || `HTTP ${response.status}`,
    status: response.status,
    detail: "",
    reason: `http_${response.status}`,
  };
  try {
    const body: unknown = await response.json();
    if (typeof body !== "object" || body === null) return plain;
    const field = (key: "type" | "title" | "detail" | "reason") => {
      const value = (body as Record<string, unknown>)[key];
      return typeof value === "string" ? value : plain[key];
    };
    return {
      type: field("type"),
      title: field("title"),
      detail: field("detail"),
      reason: field("reason"),
      status: plain.status,
    };
  } catch {
    return plain;
  }
}
