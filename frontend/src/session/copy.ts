/** A document's copy in this page: one history, under a Yjs client id of its own. */
import * as Y from "yjs";
import type { Me } from "@/gen/api";
import { Backup } from "./backup";
import { Carets } from "./carets";
import { REMOTE, type Send } from "./channel";
import type { HistoryKey, KeptCopy, KeptStore } from "./kept";
import type { Replica } from "./model";

export interface Copy extends Replica {
  guid: string;
  generation: number;
  /** Whether this page wrote in it. */
  typed: boolean;
  carets: Carets;
  backup: Backup;
}

interface CopyParts {
  guid: string;
  generation: number;
  me: Me;
  send: Send;
  kept: KeptStore;
  key: HistoryKey;
}

export function newCopy({ guid, generation, me, send, kept, key }: CopyParts): Copy {
  // A new Doc has a new random client id: ids are never used for two copies.
  const doc = new Y.Doc();
  const text = doc.getText("content");
  const carets = new Carets(doc, me, send);
  const backup = new Backup(kept, key, doc);
  const { awareness } = carets;
  return { guid, generation, typed: false, doc, text, awareness, carets, backup };
}

/** Brings what was kept into a document; false when it cannot be read. */
export function applyKept(doc: Y.Doc, { state, updates }: KeptCopy): boolean {
  try {
    if (state) Y.applyUpdate(doc, state, REMOTE);
    for (const { update } of updates) Y.applyUpdate(doc, update, REMOTE);
    return true;
  } catch {
    return false;
  }
}
