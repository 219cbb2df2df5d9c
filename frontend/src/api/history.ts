/** A file's history and the repl's checkpoints. */
import type {
  BlameLines,
  Checkpoint,
  CheckpointId,
  CheckpointRestored,
  CreateCheckpoint,
  FileHistory,
  ReplId,
  VersionRestored,
} from "@/gen/api";
import { call, id, json, nothing, pathSegments } from "./call";

const PAGE = 60;
const historyPath = (repl: ReplId, path: string) =>
  `/repls/${id(repl)}/history/${pathSegments(path)}`;
const checkpointsPath = (repl: ReplId) => `/repls/${id(repl)}/checkpoints`;

const bound = (name: string, ms: number | null) => (ms === null ? "" : `&${name}=${ms}`);

/** Sessions of a file, the newest first; `before` goes on where an earlier answer ended. */
export const getHistory = (
  repl: ReplId,
  path: string,
  options: { before?: number | undefined; limit?: number; signal?: AbortSignal } = {},
) => {
  const before = options.before === undefined ? "" : `&before=${options.before}`;
  return json<FileHistory>(
    `${historyPath(repl, path)}?limit=${options.limit ?? PAGE}${before}`,
    options.signal ? { signal: options.signal } : {},
  );
};

/** The file's text at a moment; lines end in "\n". */
export async function getVersion(repl: ReplId, path: string, at: number, signal?: AbortSignal) {
  const response = await call(`${historyPath(repl, path)}?at=${at}`, signal ? { signal } : {});
  return (await response.text()).replace(/\r\n?/g, "\n");
}

export interface ReplayBytes {
  bytes: Uint8Array;
  /** The answer was cut: ask again from here. */
  nextFrom: number | null;
}

/** Every edit between two moments, on top of the state before them. */
export async function getReplay(
  repl: ReplId,
  path: string,
  { from, to }: { from: number | null; to: number | null },
  signal?: AbortSignal,
): Promise<ReplayBytes> {
  const response = await call(
    `${historyPath(repl, path)}?replay${bound("from", from)}${bound("to", to)}`,
    signal ? { signal } : {},
  );
  const next = Number(response.headers.get("x-next-from") ?? NaN);
  return {
    bytes: new Uint8Array(await response.arrayBuffer()),
    nextFrom: Number.isSafeInteger(next) ? next : null,
  };
}

export const getBlame = (repl: ReplId, path: string, signal?: AbortSignal) =>
  json<BlameLines[]>(`${historyPath(repl, path)}?blame`, signal ? { signal } : {});

/** Makes the file's text what it was at a moment, as a new edit of the caller. */
export const restoreVersion = (repl: ReplId, path: string, at: number) =>
  json<VersionRestored>(`${historyPath(repl, path)}?restore=${at}`, { method: "POST" });

export const listCheckpoints = (repl: ReplId, signal?: AbortSignal) =>
  json<Checkpoint[]>(checkpointsPath(repl), signal ? { signal } : {});
export const createCheckpoint = (repl: ReplId, request: CreateCheckpoint) =>
  json<Checkpoint>(checkpointsPath(repl), { method: "POST", json: request });
export const deleteCheckpoint = (repl: ReplId, checkpoint: CheckpointId) =>
  nothing(`${checkpointsPath(repl)}/${id(checkpoint)}`, { method: "DELETE" });
/** Makes the whole repl what it was; how it is now is made a checkpoint first. */
export const restoreCheckpoint = (repl: ReplId, checkpoint: CheckpointId) =>
  json<CheckpointRestored>(`${checkpointsPath(repl)}/${id(checkpoint)}/restore`, {
    method: "POST",
  });
