/** Errors of the HTTP API (RFC 9457 problem documents) and of the way to it. */
import type { Problem } from "@/gen/api";

/** A request that the server answered with a refusal. */
export class ProblemError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "ProblemError";
    this.problem = problem;
  }
  get status(): number {
    return this.problem.status;
  }
  get code(): string {
    return this.problem.code;
  }
}

/** A request that got no answer. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super("The server does not answer.", { cause });
    this.name = "UnreachableError";
  }
}

/** Reads what a refused response says; a body that is no problem document gives a general one. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const general: Problem = {
    type: "about:blank",
    title: response.statusText || "Request refused",
    status: response.status,
    detail: "",
    code: "unknown",
  };
  try {
    const body: unknown = await response.json();
    if (body !== null && typeof body === "object") {
      return new ProblemError({ ...general, ...(body as Partial<Problem>) });
    }
  } catch {
    // Not JSON: a proxy's page, for example.
  }
  return new ProblemError(general);
}
