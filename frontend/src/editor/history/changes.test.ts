import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { ChangeFinder, type TextChange } from "./changes";

function generator(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647;
    return state % below;
  };
}

/** Applies each update to a replica, and what was found to a string: both must stay equal. */
function check(updates: readonly Uint8Array[]): { pieces: number } {
  const replica = new Y.Doc({ gc: false });
  const text = replica.getText("content");
  const finder = new ChangeFinder(text);
  let found: TextChange[];
  let pieces = 0;
  text.observe((event) => {
    found = finder.changesOf(event);
  });
  let mirror = "";
  for (const update of updates) {
    found = [];
    Y.applyUpdate(replica, update);
    for (const { from, to, insert } of [...found].reverse()) {
      mirror = mirror.slice(0, from) + insert + mirror.slice(to);
    }
    pieces += Number(found.length === 1);
    expect(mirror).toBe(text.toString());
  }
  return { pieces };
}

describe("changes", () => {
  it.each([1, 2, 3, 4, 5, 6])("of three people at once are found (seed %i)", (seed) => {
    const next = generator(seed * 7919);
    const people = [0, 1, 2].map(() => new Y.Doc());
    const updates: Uint8Array[] = [];
    const waiting: [Y.Doc, Uint8Array][] = [];
    for (const doc of people) {
      doc.on("update", (update: Uint8Array, origin: unknown) => {
        if (origin === "other") return;
        updates.push(update);
        for (const other of people) if (other !== doc) waiting.push([other, update]);
      });
    }
    for (let step = 0; step < 400; step += 1) {
      const doc = people[next(3)] as Y.Doc;
      const text = doc.getText("content");
      doc.transact(() => {
        const edits = next(8) === 0 ? 3 : 1;
        for (let edit = 0; edit < edits; edit += 1) {
          const at = next(text.length + 1);
          if (next(3) === 0 && text.length > 0) {
            const from = Math.min(at, text.length - 1);
            text.delete(from, Math.min(1 + next(6), text.length - from));
          } else text.insert(at, "abc\n😀".slice(0, 1 + next(4)));
        }
      });
      // What others did comes late, and in order.
      if (next(4) === 0)
        for (const [other, update] of waiting.splice(0)) Y.applyUpdate(other, update, "other");
    }
    expect(check(updates).pieces).toBeGreaterThan(200);
  });

  it("of a long text cost the same at its end as at its beginning", () => {
    const doc = new Y.Doc();
    const text = doc.getText("content");
    const updates: Uint8Array[] = [];
    doc.on("update", (update: Uint8Array) => updates.push(update));
    // Every other letter is deleted again, so that the blocks stay many.
    for (let at = 0; at < 2_000; at += 1) {
      text.insert(at, "ab");
      text.delete(at, 1);
    }
    expect(check(updates).pieces).toBe(4_000);
  });
});
