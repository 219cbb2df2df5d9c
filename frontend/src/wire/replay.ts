/**
 * The playback of a file as the server sends it: a magic number, the authors, then edits in
 * their order. The first edit holds the state before the rest.
 */
import * as decoding from "lib0/decoding";
import type { HistoryAuthor } from "@/gen/api";

const MAGIC = "TDH1";

export interface ReplayFrame {
  /** Milliseconds since the Unix epoch. */
  ms: number;
  author: HistoryAuthor | null;
  /** Yjs, v1. */
  update: Uint8Array;
}

export interface Replay {
  authors: HistoryAuthor[];
  frames: ReplayFrame[];
}

export class MalformedReplay extends Error {
  constructor(reason: string, cause?: unknown) {
    super(`The server sent an unreadable history: ${reason}.`, { cause });
    this.name = "MalformedReplay";
  }
}

export function parseReplay(bytes: Uint8Array): Replay {
  if (new TextDecoder("latin1").decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    throw new MalformedReplay("it does not begin like one");
  }
  try {
    const reader = decoding.createDecoder(bytes.subarray(MAGIC.length));
    const authors = readAuthors(decoding.readVarString(reader));
    const frames: ReplayFrame[] = [];
    while (decoding.hasContent(reader)) {
      const ms = decoding.readVarUint(reader);
      const author = authors[decoding.readVarUint(reader) - 1] ?? null;
      frames.push({ ms, author, update: decoding.readVarUint8Array(reader) });
    }
    return { authors, frames };
  } catch (error) {
    if (error instanceof MalformedReplay) throw error;
    throw new MalformedReplay("it ends too early", error);
  }
}

function readAuthors(text: string): HistoryAuthor[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new MalformedReplay("its authors are no list");
  return value as HistoryAuthor[];
}
