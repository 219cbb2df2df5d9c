/**
 * When the whole document is written to the browser's store: only while edits are under way
 * that are not in the blob store, soon after the first of them and then now and then. Kept
 * updates alone may build on what others wrote, and could not be shown without it.
 */
import * as Y from "yjs";
import type { HistoryKey, KeptStore } from "./kept";

const FIRST_MS = 1_000;
const AGAIN_MS = 10_000;

export class Backup {
  private readonly kept: KeptStore;
  private readonly key: HistoryKey;
  private readonly doc: Y.Doc;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private dirty = false;
  private saved: boolean;

  constructor(kept: KeptStore, key: HistoryKey, doc: Y.Doc) {
    this.kept = kept;
    this.key = key;
    this.doc = doc;
    this.saved = false;
    doc.on("update", () => (this.dirty = true));
  }

  /** The store holds this copy already. */
  restored(): void {
    this.saved = true;
    this.dirty = false;
  }

  /** An edit was kept; `urgent` when nobody else has what it builds on. */
  plan(path: string, urgent: boolean): void {
    const wait = this.saved ? AGAIN_MS : urgent ? 0 : FIRST_MS;
    this.timer ??= setTimeout(() => this.save(path), wait);
  }

  save(path: string): void {
    this.cancel();
    if (!this.dirty) return;
    this.dirty = false;
    this.saved = true;
    this.kept.saveState(this.key, path, Y.encodeStateAsUpdate(this.doc));
  }

  /** Everything is in the blob store, or the copy is dropped. */
  forget(): void {
    this.cancel();
    this.saved = false;
    this.dirty = true;
    this.kept.dropStateWhenClean(this.key);
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
