/**
 * What a Yjs transaction did to a text. An event's own `delta` walks over the whole document for
 * each keystroke, so that a long history would take a time that grows with its square. Almost
 * every edit is one piece near the edit before it: that one is found from there.
 */
import * as Y from "yjs";

/** Positions are those before the step; changes of a step ascend. */
export interface TextChange {
  from: number;
  to: number;
  insert: string;
}

/** A block, and the position at which it begins. */
interface Place {
  item: Y.Item;
  at: number;
}

export class ChangeFinder {
  private readonly text: Y.Text;
  private last: Place | null = null;

  constructor(text: Y.Text) {
    this.text = text;
  }

  /** To be called while the text is observed. */
  changesOf(event: Y.YTextEvent): TextChange[] {
    const piece = this.onePiece(event);
    if (piece !== null) return [piece];
    this.last = null;
    return fromDelta(event.delta);
  }

  private onePiece(event: Y.YTextEvent): TextChange | null {
    const added = addedItems(event.transaction);
    const removed = event.transaction.deleteSet.clients;
    if (added.length === 1 && removed.size === 0) {
      const [item] = added;
      if (!item || item.deleted || !(item.content instanceof Y.ContentString)) return null;
      const at = this.find(item, item.length);
      this.last = beside(item, at);
      return { from: at, to: at, insert: item.content.str };
    }
    if (added.length === 0 && removed.size === 1) {
      const run = removedRun(event);
      if (run === null) return null;
      const at = this.find(run.first, -run.length);
      this.last = beside(run.first, at);
      return { from: at, to: at + run.length, insert: "" };
    }
    return null;
  }

  /**
   * The position of a block in the text as it is now. The search goes both ways until it meets
   * the last known place or an end. `grown` is by how much the text at the block has grown.
   */
  private find(item: Y.Item, grown: number): number {
    const { last } = this;
    if (item === last?.item) return last.at;
    let [left, right] = [item.left, item as Y.Item | null];
    let [before, after] = [0, 0];
    for (;;) {
      if (left === null) return before;
      if (left === last?.item) return last.at + shown(left) + before;
      before += shown(left);
      left = left.left;
      if (right === null) return this.text.length - after;
      // It stood behind what has changed.
      if (right === last?.item) return last.at + grown - after;
      after += shown(right);
      right = right.right;
    }
  }
}

/** A place to remember: changed blocks may become one with their left neighbours after this. */
function beside(item: Y.Item, at: number): Place {
  return item.left === null ? { item, at } : { item: item.left, at: at - shown(item.left) };
}

function shown(item: Y.Item): number {
  return item.deleted || !item.countable ? 0 : item.length;
}

/** Blocks that a transaction brought; more than one are as good as many. */
function addedItems({ beforeState, afterState, doc }: Y.Transaction): Y.Item[] {
  const added: Y.Item[] = [];
  for (const [client, end] of afterState) {
    const begin = beforeState.get(client) ?? 0;
    const structs = end > begin ? doc.store.clients.get(client) : undefined;
    if (!structs) continue;
    for (let at = structs.length - 1; at >= 0; at -= 1) {
      const struct = structs[at];
      if (!struct || struct.id.clock < begin) break;
      if (!(struct instanceof Y.Item)) continue;
      added.push(struct);
      if (added.length > 1) return added;
    }
  }
  return added;
}

/** What was removed when it is one run of neighbours; null otherwise. */
function removedRun(event: Y.YTextEvent): { first: Y.Item; length: number } | null {
  const { deleteSet, doc } = event.transaction;
  const [[client, ranges] = [0, []]] = deleteSet.clients;
  const [range] = ranges;
  if (ranges.length !== 1 || !range) return null;
  const end = range.clock + range.len;
  const first = Y.getItem(doc.store, Y.createID(client, range.clock));
  if (!(first instanceof Y.Item) || first.id.clock !== range.clock) return null;
  let length = 0;
  for (let item: Y.Item | null = first; ; item = item.right) {
    if (item === null || item.id.client !== client || !event.deletes(item)) return null;
    if (!(item.content instanceof Y.ContentString)) return null;
    length += item.length;
    const next: number = item.id.clock + item.length;
    if (next >= end) return next === end ? { first, length } : null;
    if (item.right?.id.clock !== next) return null;
  }
}

function fromDelta(delta: Y.YTextEvent["delta"]): TextChange[] {
  const changes: TextChange[] = [];
  let at = 0;
  for (const { retain, insert, delete: removed } of delta) {
    if (retain !== undefined) at += retain;
    else if (typeof insert === "string") changes.push({ from: at, to: at, insert });
    else if (removed !== undefined) {
      changes.push({ from: at, to: at + removed, insert: "" });
      at += removed;
    }
  }
  return changes;
}
