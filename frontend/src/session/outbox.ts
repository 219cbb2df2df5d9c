/**
 * The numbered way of a document's edits to the server: what is not yet safe, in order, with
 * the level each entry has reached. Pure bookkeeping; sending and keeping happen outside.
 */
import * as Y from "yjs";
import type { AckLevel } from "@/wire/codec";
import { randomId, type KeptUpdate } from "./kept";

interface Entry extends KeptUpdate {
  /** Number under which it travels on the present connection; null = not sent there. */
  seq: number | null;
  level: 0 | 1;
}

/** Entries never sent are merged beyond this, so that a long offline spell stays small. */
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

  /** Merges entries that were never sent. Returns what changed in the kept store, if anything. */
  compact(): { removed: string[]; added: KeptUpdate } | null {
    const mergeable = (entry: Entry) => entry.seq === null && entry.level === 0;
    const unsent = this.entries.filter(mergeable);
    const first = unsent[0];
    if (!first || unsent.length <= MERGE_ABOVE) return null;
    this.entries = this.entries.filter((entry) => !mergeable(entry));
    const { id, update, edits, at } = this.add(
      Y.mergeUpdates(unsent.map((entry) => entry.update)),
      unsent.reduce((sum, entry) => sum + entry.edits, 0),
      first.at,
    );
    const removed = unsent.map((entry) => entry.id);
    return { removed, added: { id, update, edits, at } };
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
