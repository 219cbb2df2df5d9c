/** One typed function for each endpoint of the HTTP API. */
import type {
  CreateLink,
  CreateRepl,
  CreateTerminal,
  EgressReport,
  ForkRepl,
  LinkCreated,
  LinkId,
  LinkInfo,
  Me,
  ReplId,
  ReplInfo,
  ReplStatus,
  RunRequest,
  RunStarted,
  SessionCreated,
  TemplateInfo,
  TerminalId,
  TerminalInfo,
  TreeEntry,
  TreeFolder,
  UpdateMe,
} from "@/gen/api";
import { BASE, call, id, json, nothing, pathSegments } from "./call";

const BYTES = { "content-type": "application/octet-stream" };
const filesPath = (repl: ReplId, path: string) => `/repls/${id(repl)}/files/${pathSegments(path)}`;

// Session and person
export const createSession = (token: string) =>
  json<SessionCreated>("/session", { method: "POST", json: { token } });
export const endSession = () => nothing("/session", { method: "DELETE" });
export const getMe = (signal?: AbortSignal) => json<Me>("/me", { signal });
export const updateMe = (change: UpdateMe) => json<Me>("/me", { method: "PATCH", json: change });

// Repls
export const listTemplates = (signal?: AbortSignal) =>
  json<TemplateInfo[]>("/templates", { signal });
export const listRepls = (signal?: AbortSignal) => json<ReplInfo[]>("/repls", { signal });
/** Those that can be restored. */
export const listDeletedRepls = (signal?: AbortSignal) =>
  json<ReplInfo[]>("/repls?deleted=true", { signal });
export const createRepl = (request: CreateRepl) =>
  json<ReplInfo>("/repls", { method: "POST", json: request });
export const getRepl = (repl: ReplId, signal?: AbortSignal) =>
  json<ReplInfo>(`/repls/${id(repl)}`, { signal });
export const renameRepl = (repl: ReplId, name: string) =>
  json<ReplInfo>(`/repls/${id(repl)}`, { method: "PATCH", json: { name } });
export const deleteRepl = (repl: ReplId) => nothing(`/repls/${id(repl)}`, { method: "DELETE" });
export const restoreRepl = (repl: ReplId) =>
  json<ReplInfo>(`/repls/${id(repl)}/restore`, { method: "POST" });
export const forkRepl = (repl: ReplId, request: ForkRepl = {}) =>
  json<ReplInfo>(`/repls/${id(repl)}/fork`, { method: "POST", json: request });

// Share links
export const listLinks = (repl: ReplId, signal?: AbortSignal) =>
  json<LinkInfo[]>(`/repls/${id(repl)}/links`, { signal });
export const createLink = (repl: ReplId, role: CreateLink["role"]) =>
  json<LinkCreated>(`/repls/${id(repl)}/links`, { method: "POST", json: { role } });
export const deleteLink = (repl: ReplId, link: LinkId) =>
  nothing(`/repls/${id(repl)}/links/${id(link)}`, { method: "DELETE" });

// Files
export const getTree = (repl: ReplId, dir = "", signal?: AbortSignal) =>
  json<TreeFolder>(`/repls/${id(repl)}/tree?dir=${id(dir)}`, { signal });
/** The bytes of a file; `range` asks for a part of a big one. */
export async function readFile(
  repl: ReplId,
  path: string,
  options: { range?: { start: number; end: number }; signal?: AbortSignal } = {},
): Promise<Blob> {
  const { range, signal } = options;
  const headers: Record<string, string> = range
    ? { range: `bytes=${range.start}-${range.end}` }
    : {};
  const response = await call(filesPath(repl, path), { headers, signal });
  return response.blob();
}
/** Writes a file; on an open text it lands as a minimal diff. */
export const writeFile = (repl: ReplId, path: string, body: Blob | string) =>
  json<TreeEntry>(filesPath(repl, path), { method: "PUT", body, headers: BYTES });
/** Makes a new empty file; refused when the path is taken. */
export const createFile = (repl: ReplId, path: string) =>
  json<TreeEntry>(filesPath(repl, path), {
    method: "PUT",
    body: "",
    headers: { ...BYTES, "if-none-match": "*" },
  });
export const createFolder = (repl: ReplId, path: string) =>
  json<TreeEntry>(`${filesPath(repl, path)}?folder`, { method: "POST" });
export const deleteFile = (repl: ReplId, path: string) =>
  nothing(filesPath(repl, path), { method: "DELETE" });
export const moveFile = (repl: ReplId, path: string, to: string) =>
  json<TreeEntry>(`${filesPath(repl, path)}?move_to=${id(to)}`, { method: "POST" });
/** Brings a deleted file back (kept for 7 days). */
export const restoreFile = (repl: ReplId, path: string) =>
  json<TreeEntry>(`${filesPath(repl, path)}?restore`, { method: "POST" });
/** Address for a download link. */
export const archiveUrl = (repl: ReplId) => `${BASE}/repls/${id(repl)}/archive.zip`;
export const fileUrl = (repl: ReplId, path: string) => BASE + filesPath(repl, path);
export const importArchive = (repl: ReplId, archive: Blob) =>
  nothing(`/repls/${id(repl)}/import`, {
    method: "POST",
    body: archive,
    headers: { "content-type": "application/zip" },
  });

// Running
export const run = (repl: ReplId, request: RunRequest = {}) =>
  json<RunStarted>(`/repls/${id(repl)}/run`, { method: "POST", json: request });
export const stop = (repl: ReplId) => nothing(`/repls/${id(repl)}/stop`, { method: "POST" });
export const getEgress = (repl: ReplId, signal?: AbortSignal) =>
  json<EgressReport>(`/repls/${id(repl)}/egress`, { signal });
export const getStatus = (repl: ReplId, signal?: AbortSignal) =>
  json<ReplStatus>(`/repls/${id(repl)}/status`, { signal });

// Terminals
export const listTerminals = (repl: ReplId, signal?: AbortSignal) =>
  json<TerminalInfo[]>(`/repls/${id(repl)}/terminals`, { signal });
export const createTerminal = (repl: ReplId, size: CreateTerminal = {}) =>
  json<TerminalInfo>(`/repls/${id(repl)}/terminals`, { method: "POST", json: size });
export const deleteTerminal = (repl: ReplId, terminal: TerminalId) =>
  nothing(`/repls/${id(repl)}/terminals/${id(terminal)}`, { method: "DELETE" });
