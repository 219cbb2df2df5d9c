/**
 * What the browser's store holds beside one's own updates: the document they build on. Written
 * whole soon after the first edit that is not in the blob store, and now and then while such
 * edits go on; what others write in between is put into the next kept update. So state and
 * kept updates together are always complete, even when the server lost what others wrote.
 */
import * as Y from "yjs";
import { REMOTE } from "./channel";
import type { HistoryKey, KeptStore } from "./kept";

const AGAIN_MS = 10_000;
/** Encoding a big document takes a moment that the first keystroke should not wait for. */
const BIG_LENGTH = 200_000;
const BIG_MS = 1_000;
/** Updates of others held for the next kept update before the document is written instead. */
const MAX_CONTEXT = 200;

export class Backup {
  private readonly kept: KeptStore;
  private readonly key: HistoryKey;
  private readonly doc: Y.Doc;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private path = "";
  private dirty = true;
  private saved = false;
  private context: Uint8Array[] = [];

  constructor(kept: KeptStore, key: HistoryKey, doc: Y.Doc) {
    this.kept = kept;
    this.key = key;
    this.doc = doc;
    doc.on("update", (update: Uint8Array, origin: unknown) => {
      this.dirty = true;
      if (!this.saved || origin !== REMOTE) return;
      this.context.push(update);
      if (this.context.length > MAX_CONTEXT) this.save();
    });
  }

  /** The form in which one's own update is kept: with what it may build on. */
  complete(update: Uint8Array): Uint8Array {
    if (this.context.length === 0) return update;
    const complete = Y.mergeUpdates([...this.context, update]);
    this.context = [];
    return complete;
  }

  /** An edit was kept. */
  plan(path: string): void {
    this.path = path;
    const first = this.doc.getText("content").length > BIG_LENGTH ? BIG_MS : 0;
    this.timer ??= setTimeout(() => this.save(), this.saved ? AGAIN_MS : first);
  }

  save(): void {
    this.cancel();
    if (!this.dirty) return;
    this.dirty = false;
    this.saved = true;
    this.context = [];
    this.kept.saveState(this.key, this.path, Y.encodeStateAsUpdate(this.doc));
  }

  /** Everything is in the blob store, or the copy is dropped. */
  forget(): void {
    this.cancel();
    this.saved = false;
    this.dirty = true;
    this.context = [];
    this.kept.dropStateWhenClean(this.key);
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
