/**
 * Exchanges the token of a printed or shared link for a cookie. Tokens travel in the fragment,
 * which browsers send to nobody; it leaves the address bar (and so history, screenshots and
 * copied addresses) before anything is asked of the network.
 */
import type { SessionCreated } from "@/gen/api";
import { createSession } from "./client";

/** The token of `#token=…` (or a bare `#…`), or null. */
export function tokenInFragment(fragment: string): string | null {
  const text = fragment.replace(/^#/, "");
  if (text === "") return null;
  const named = new URLSearchParams(text).get("token");
  if (named) return named;
  return /^[\w.-]{16,}$/.test(text) ? text : null;
}

/** Call once before the first render. Null when the address holds no token. */
export async function exchangeToken(): Promise<SessionCreated | null> {
  const token = tokenInFragment(window.location.hash);
  if (token === null) return null;
  const { pathname, search } = window.location;
  window.history.replaceState(window.history.state, "", pathname + search);
  return createSession(token);
}
