/**
 * The numbered way of a document's edits to the server: what is not yet safe, in order, with
 * the level each entry has reached. Pure bookkeeping; sending and keeping happen outside.
 */
import * as Y from "yjs";
import type { AckLevel } from "@/wire/codec";
import type { KeptUpdate } from "./kept";
import { randomId } from "./tab";

interface Entry extends KeptUpdate {
  /** Number under which it travels on the present connection; null = not sent there. */
  seq: number | null;
  level: 0 | 1;
}

/**
 * Neighbours in the same state are merged beyond this many: a long time without a connection,
 * or without a blob store, stays small.
 */
const MERGE_ABOVE = 200;

export class Outbox {
  private entries: Entry[] = [];
  private seq = 0;
  /** Changes whenever something left at level 2. */
  everStored = false;

  /** Takes back what an earlier page kept. */
  adopt(updates: readonly KeptUpdate[]): void {
    for (const update of updates) this.entries.push({ ...update, seq: null, level: 0 });
  }

  has(id: string): boolean {
    return this.entries.some((entry) => entry.id === id);
  }

  add(update: Uint8Array, edits: number, at: number): KeptUpdate {
    const entry: Entry = { id: randomId(), update, edits, at, seq: null, level: 0 };
    this.entries.push(entry);
    return entry;
  }

  /** Numbers start again: the server counts per connection and document. */
  connectionLost(): void {
    this.seq = 0;
    for (const entry of this.entries) entry.seq = null;
  }

  /** The number for a message that carries everything not yet sent. */
  takeSeq(): number {
    this.seq += 1;
    for (const entry of this.entries) entry.seq ??= this.seq;
    return this.seq;
  }

  /** The number for a message that carries everything, sent or not. */
  takeSeqForAll(): number {
    this.seq += 1;
    for (const entry of this.entries) entry.seq = this.seq;
    return this.seq;
  }

  unsent(): Uint8Array[] {
    return this.entries.filter((entry) => entry.seq === null).map((entry) => entry.update);
  }

  /** Applies an acknowledgement; returns the ids that need not be kept any more. */
  acknowledge(seq: number, level: AckLevel): string[] {
    const covered = (entry: Entry) => entry.seq !== null && entry.seq <= seq;
    if (level === 1) {
      for (const entry of this.entries) if (covered(entry)) entry.level = 1;
      return [];
    }
    const ids = this.entries.filter(covered).map((entry) => entry.id);
    if (ids.length > 0) {
      this.everStored = true;
      this.entries = this.entries.filter((entry) => !covered(entry));
    }
    return ids;
  }

  /** Forgets everything (the copy is dropped); returns the ids. */
  clear(): string[] {
    const ids = this.entries.map((entry) => entry.id);
    this.entries = [];
    this.seq = 0;
    return ids;
  }

  /** Merges neighbours in the same state. Returns what changed in the kept store, if anything. */
  compact(): { removed: string[]; added: KeptUpdate } | null {
    const stateOf = ({ seq, level }: Entry) => (seq === null ? "unsent" : level);
    const states = ["unsent", 0, 1] as const;
    const many = states.find(
      (state) => this.entries.filter((entry) => stateOf(entry) === state).length > MERGE_ABOVE,
    );
    if (many === undefined) return null;
    const inState = (entry: Entry) => stateOf(entry) === many;
    const merged = this.entries.filter(inState);
    const at = this.entries.findIndex(inState);
    const entry: Entry = {
      id: randomId(),
      update: Y.mergeUpdates(merged.map(({ update }) => update)),
      edits: merged.reduce((sum, { edits }) => sum + edits, 0),
      at: Math.min(...merged.map((one) => one.at)),
      // Acknowledged when the last of them is.
      seq: many === "unsent" ? null : Math.max(...merged.map(({ seq }) => seq ?? 0)),
      level: many === 1 ? 1 : 0,
    };
    this.entries = this.entries.filter((one) => !inState(one));
    this.entries.splice(at, 0, entry);
    const { id, update, edits, at: since } = entry;
    return { removed: merged.map((one) => one.id), added: { id, update, edits, at: since } };
  }

  /** For each Yjs client the first clock that the entries need; see {@link DocumentSession}. */
  firstClocks(): Map<number, number> {
    const first = new Map<number, number>();
    for (const { update } of this.entries) {
      for (const [client, clock] of Y.parseUpdateMeta(update).from) {
        first.set(client, Math.min(clock, first.get(client) ?? clock));
      }
    }
    return first;
  }

  /**
   * Whether a server with this state vector lacks more of the document than what waits here: it
   * was set back to an older state.
   */
  lacks(doc: Y.Doc, stateVector: Uint8Array): boolean {
    const theirs = Y.decodeStateVector(stateVector);
    const waiting = this.firstClocks();
    return [...Y.decodeStateVector(Y.encodeStateVector(doc))].some(
      ([client, clock]) => (theirs.get(client) ?? 0) < (waiting.get(client) ?? clock),
    );
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** Edits without any acknowledgement, and when the oldest was made. */
  unacknowledged(): { edits: number; since: number } | null {
    let edits = 0;
    let since = Infinity;
    for (const entry of this.entries) {
      if (entry.level > 0) continue;
      edits += entry.edits;
      since = Math.min(since, entry.at);
    }
    return since === Infinity ? null : { edits, since };
  }
}
