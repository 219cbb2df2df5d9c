/** Texts of dropped copies: reported, unless the document turns out to have that very text. */
import * as Y from "yjs";
import { type KeptCopy, type KeptStore, randomId } from "./kept";
import type { RescuedText } from "./model";

export class Rescue {
  private readonly repl: string;
  private readonly kept: KeptStore;
  private readonly onRescued: (text: RescuedText) => void;
  private suspect: RescuedText | null = null;

  constructor(repl: string, kept: KeptStore, onRescued: (text: RescuedText) => void) {
    this.repl = repl;
    this.kept = kept;
    this.onRescued = onRescued;
  }

  /** Puts a text aside (in the store at once, against a crash) until `settle`. */
  hold(path: string, text: string, reason: RescuedText["reason"]): void {
    if (text === "") return;
    this.settle(null);
    this.suspect = { id: randomId(), path, text, at: Date.now(), reason };
    this.kept.addRescued(this.repl, this.suspect);
  }

  /** Reports what is held unless the document's text equals it. */
  settle(current: string | null): void {
    const suspect = this.suspect;
    this.suspect = null;
    if (suspect === null) return;
    if (current === suspect.text) this.kept.removeRescued(suspect.id);
    else this.onRescued(suspect);
  }

  /** Saves what an earlier page kept of a history that a newer one has replaced. */
  takeOver(copy: KeptCopy, guid: string, path: string): void {
    const doc = new Y.Doc();
    try {
      if (copy.state) Y.applyUpdate(doc, copy.state);
      for (const { update } of copy.updates) Y.applyUpdate(doc, update);
      if (copy.updates.length > 0) {
        this.hold(copy.path || path, doc.getText("content").toString(), "replaced");
        this.settle(null);
      }
      this.kept.remove(copy.updates.map(({ id }) => id));
      this.kept.dropStateWhenClean({ repl: this.repl, guid, generation: copy.generation });
    } catch {
      // Unreadable; it stays for a page that can read it.
    } finally {
      doc.destroy();
    }
  }
}
