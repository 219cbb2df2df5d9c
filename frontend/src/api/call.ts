/** One request to the HTTP API: what every endpoint's function is made of. */
import { problemOf, UnreachableError } from "./problem";

export const BASE = "/api/v1";

export interface Call {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export async function call(
  path: string,
  { method = "GET", json, body, headers, signal }: Call = {},
): Promise<Response> {
  const init: RequestInit = { method, credentials: "same-origin", headers: { ...headers } };
  if (signal) init.signal = signal;
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers = { ...headers, "content-type": "application/json" };
  } else if (body !== undefined) {
    init.body = body;
  }
  let response: Response;
  try {
    response = await fetch(BASE + path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new UnreachableError(error);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function json<T>(path: string, options?: Call): Promise<T> {
  const response = await call(path, options);
  return (await response.json()) as T;
}

export async function nothing(path: string, options?: Call): Promise<void> {
  await call(path, options);
}

export const id = encodeURIComponent;
/** A workspace path as URL segments: every part is encoded, the slashes stay. */
export const pathSegments = (path: string) => path.split("/").map(encodeURIComponent).join("/");
