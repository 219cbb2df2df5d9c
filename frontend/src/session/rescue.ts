/** Texts of dropped copies: reported, unless the document turns out to have that very text. */
import * as Y from "yjs";
import type { KeptCopy, KeptStore } from "./kept";
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

  /**
   * Puts a text aside until `settle`; in the store at once, in the place of the kept updates
   * `instead`, so that a crash loses neither.
   */
  hold(
    path: string,
    text: string,
    reason: RescuedText["reason"],
    instead: readonly string[],
  ): void {
    if (text === "") {
      this.kept.remove([...instead]);
      return;
    }
    this.settle(null);
    // Two tabs that held the same text rescue it once.
    this.suspect = { id: idOf(path, text), path, text, at: Date.now(), reason };
    this.kept.addRescued(this.repl, this.suspect, instead);
  }

  /** Reports what is held unless the document's text equals it. */
  settle(current: string | null): void {
    const suspect = this.suspect;
    this.suspect = null;
    if (suspect === null) return;
    if (current === suspect.text) this.kept.removeRescued(suspect.id);
    else this.onRescued(suspect);
  }

  /** Saves what an earlier page kept of a history that this one does not go on with. */
  takeOver(copy: KeptCopy, file: { guid: string; path: string }, reason: RescuedText["reason"]) {
    const doc = new Y.Doc();
    try {
      if (copy.state) Y.applyUpdate(doc, copy.state);
      for (const { update } of copy.updates) Y.applyUpdate(doc, update);
      const ids = copy.updates.map(({ id }) => id);
      if (ids.length > 0) {
        this.hold(copy.path || file.path, readableText(doc), reason, ids);
        this.settle(null);
      }
      const { repl } = this;
      this.kept.dropStateWhenClean({ repl, guid: file.guid, generation: copy.generation });
    } catch {
      // Unreadable; it stays for a page that can read it.
    } finally {
      doc.destroy();
    }
  }
}

/** The text, and behind it what was typed into a part of the document that never came. */
export function readableText(doc: Y.Doc): string {
  const text = doc.getText("content").toString();
  const pending = doc.store.pendingStructs?.update;
  if (pending === undefined) return text;
  const typed = Y.decodeUpdateV2(pending).structs.map((struct) =>
    struct instanceof Y.Item && struct.content instanceof Y.ContentString ? struct.content.str : "",
  );
  return text + typed.join("");
}

function idOf(path: string, text: string): string {
  return [0, 1].map((seed) => hash(`${path}\n${text}`, seed)).join("-") + `-${text.length}`;
}

/** FNV-1a over UTF-16 units: these ids guard against doubles, not against forgery. */
function hash(text: string, seed: number): string {
  let value = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  }
  return (value >>> 0).toString(36);
}
