/** Collects a document's local edits: a key pressed alone goes at once, a burst together. */
import * as Y from "yjs";

const BATCH_MS = 15;

export interface Collected {
  update: Uint8Array;
  edits: number;
  /** When the first was made, milliseconds since the epoch. */
  since: number;
}

export class Batch {
  private readonly onReady: () => void;
  private updates: Uint8Array[] = [];
  private since = 0;
  private takenAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(onReady: () => void) {
    this.onReady = onReady;
  }

  get edits(): number {
    return this.updates.length;
  }

  get oldest(): number {
    return this.since;
  }

  add(update: Uint8Array): void {
    if (this.updates.length === 0) this.since = Date.now();
    this.updates.push(update);
    this.timer ??= setTimeout(this.onReady, Math.max(0, this.takenAt + BATCH_MS - Date.now()));
  }

  /** Everything collected as one update; null when there is nothing. */
  take(): Collected | null {
    clearTimeout(this.timer);
    this.timer = undefined;
    const [first] = this.updates;
    if (!first) return null;
    const edits = this.updates.length;
    const update = edits === 1 ? first : Y.mergeUpdates(this.updates);
    this.updates = [];
    this.takenAt = Date.now();
    return { update, edits, since: this.since };
  }
}
