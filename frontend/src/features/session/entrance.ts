/** What became of the token in the address, if there was one. */
import { exchangeToken } from "@/api/start";
import { ProblemError } from "@/api/problem";
import type { SessionCreated } from "@/gen/api";

export type Entrance =
  | { state: "plain" }
  | { state: "entered"; session: SessionCreated }
  | { state: "bad-link" }
  | { state: "away" };

/** Uses the token of the address up. Runs once, before the first render of the pages. */
export async function enter(): Promise<Entrance> {
  try {
    const session = await exchangeToken();
    return session === null ? { state: "plain" } : { state: "entered", session };
  } catch (error) {
    return { state: error instanceof ProblemError && error.status < 500 ? "bad-link" : "away" };
  }
}
