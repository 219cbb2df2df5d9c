// @vitest-environment jsdom
import { EditorState, Text } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { bindText } from "./binding";
import { historyOf, ownUndo } from "./undo";

function viewOn(text: Y.Text): EditorView {
  return new EditorView({
    state: EditorState.create({
      doc: Text.of(text.toString().split("\n")),
      extensions: [EditorState.lineSeparator.of("\n"), bindText(text)],
    }),
  });
}

/** Two documents that hear each other only when `exchange` is called. */
function pair() {
  const docs = [new Y.Doc(), new Y.Doc()] as const;
  const exchange = () => {
    const [a, b] = docs;
    const forB = Y.encodeStateAsUpdate(a, Y.encodeStateVector(b));
    const forA = Y.encodeStateAsUpdate(b, Y.encodeStateVector(a));
    Y.applyUpdate(a, forA, "remote");
    Y.applyUpdate(b, forB, "remote");
  };
  return { docs, texts: docs.map((doc) => doc.getText("content")) as [Y.Text, Y.Text], exchange };
}

/** Small deterministic generator (mulberry32), so that a failure can be replayed. */
function generator(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

describe("binding", () => {
  it("carries edits of several places in one transaction", () => {
    const text = new Y.Doc().getText("content");
    text.insert(0, "one\ntwo\nthree");
    const view = viewOn(text);
    view.dispatch({
      changes: [
        { from: 0, to: 3, insert: "1" },
        { from: 4, insert: "> " },
        { from: 8, to: 13, insert: "3\n4" },
      ],
    });
    expect(view.state.doc.toString()).toBe("1\n> two\n3\n4");
    expect(text.toString()).toBe("1\n> two\n3\n4");
  });

  it("keeps offsets equal when another client wrote carriage returns and emoji", () => {
    const { docs, texts, exchange } = pair();
    const view = viewOn(texts[0]);
    texts[1].insert(0, "a\r\nb\rc👩‍👩‍👧x");
    exchange();
    expect(view.state.doc.length).toBe(texts[0].length);
    view.dispatch({ changes: { from: view.state.doc.length, insert: "!" } });
    exchange();
    expect(texts[1].toString()).toBe("a\r\nb\rc👩‍👩‍👧x!");
    expect(docs[0].store.pendingStructs).toBeNull();
  });

  it("shows one text in a split view without echo", () => {
    const text = new Y.Doc().getText("content");
    const [left, right] = [viewOn(text), viewOn(text)];
    left.dispatch({ changes: { from: 0, insert: "left" } });
    right.dispatch({ changes: { from: 4, insert: " right" } });
    expect(left.state.doc.toString()).toBe("left right");
    expect(right.state.doc.toString()).toBe("left right");
    expect(text.toString()).toBe("left right");
  });

  it("undoes one's own edits only", () => {
    const { texts, exchange } = pair();
    const view = viewOn(texts[0]);
    const history = historyOf(texts[0]);
    view.dispatch({ changes: { from: 0, insert: "mine" } });
    exchange();
    texts[1].insert(0, "theirs ");
    exchange();
    expect(view.state.doc.toString()).toBe("theirs mine");
    history.undo();
    exchange();
    expect(view.state.doc.toString()).toBe("theirs ");
    expect(texts[1].toString()).toBe("theirs ");
    history.redo();
    expect(view.state.doc.toString()).toBe("theirs mine");
  });

  it("undoes line by line, however quickly they were typed", () => {
    const text = new Y.Doc().getText("content");
    const view = new EditorView({
      state: EditorState.create({ extensions: [ownUndo(text), bindText(text)] }),
    });
    const type = (insert: string) =>
      view.dispatch({
        changes: { from: view.state.doc.length, insert },
        selection: { anchor: view.state.doc.length + insert.length },
        userEvent: "input.type",
      });
    for (const key of "one\ntwo\nthree") type(key);
    historyOf(text).undo();
    expect(view.state.sliceDoc()).toBe("one\ntwo");
    historyOf(text).undo();
    expect(view.state.sliceDoc()).toBe("one");
    historyOf(text).redo();
    expect(view.state.sliceDoc()).toBe("one\ntwo");
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("converges under random edits (seed %i)", (seed) => {
    const next = generator(seed);
    const { texts, exchange } = pair();
    const views = texts.map(viewOn) as [EditorView, EditorView];
    const words = ["x", "\n", "ab\ncd", "é", "🙂", "\r\n", "    "];
    for (let step = 0; step < 400; step += 1) {
      const view = views[next(2)] as EditorView;
      const length = view.state.doc.length;
      // An editor never lands inside a surrogate pair.
      const whole = (at: number) =>
        /[\uDC00-\uDFFF]/.test(view.state.sliceDoc(at, at + 1)) ? at - 1 : at;
      const from = whole(next(length + 1));
      const to = Math.max(from, whole(Math.min(length, from + next(4))));
      view.dispatch({ changes: { from, to, insert: words[next(words.length)] ?? "" } });
      if (next(5) === 0) exchange();
      if (next(20) === 0) historyOf(texts[0]).undo();
    }
    exchange();
    expect(texts[1].toString()).toBe(texts[0].toString());
    views.forEach((view, index) => {
      expect(view.state.sliceDoc()).toBe((texts[index] as Y.Text).toString());
    });
  });
});
