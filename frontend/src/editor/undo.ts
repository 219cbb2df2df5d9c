/**
 * Undo of one's own edits only. One history per text for the whole page: it outlives a closed
 * tab and is shared by a split view.
 */
import { type Extension, Prec, type StateCommand } from "@codemirror/state";
import { EditorView, keymap, ViewPlugin, type ViewUpdate } from "@codemirror/view";
import * as Y from "yjs";
import { fromDocument, ViewOrigin } from "./binding";

const histories = new WeakMap<Y.Text, Y.UndoManager>();

export function historyOf(text: Y.Text): Y.UndoManager {
  let history = histories.get(text);
  if (!history) {
    history = new Y.UndoManager(text, {
      trackedOrigins: new Set([ViewOrigin]),
      captureTimeout: 400,
    });
    histories.set(text, history);
  }
  return history;
}

interface Selected {
  anchor: Y.RelativePosition;
  head: Y.RelativePosition;
}

interface StackEvent {
  stackItem: { meta: Map<unknown, unknown> };
  origin: unknown;
}

/**
 * Whether an update begins a new step of undo: time alone would make one step of everything
 * that a quick typist wrote.
 */
function startsStep(update: ViewUpdate): boolean {
  return update.transactions.some((transaction) => {
    if (transaction.annotation(fromDocument)) return false;
    if (!transaction.docChanged) return transaction.selection !== undefined;
    if (!transaction.isUserEvent("input.type") && !transaction.isUserEvent("delete.backward")) {
      return true;
    }
    let lineBreak = false;
    transaction.changes.iterChanges((_fromA, _toA, _fromB, _toB, inserted) => {
      if (inserted.lines > 1) lineBreak = true;
    });
    return lineBreak;
  });
}

/** Undo and redo keys, and the selection coming back with the text. */
export function ownUndo(text: Y.Text): Extension {
  const history = historyOf(text);
  const run = (step: () => unknown): StateCommand => {
    return ({ state }) => {
      if (state.readOnly) return false;
      step();
      return true;
    };
  };
  const undo = run(() => history.undo());
  const redo = run(() => history.redo());

  const selections = ViewPlugin.define((view) => {
    const relative = (index: number) => Y.createRelativePositionFromTypeIndex(text, index);
    let before: Selected | null = null;
    const onAdded = ({ stackItem }: StackEvent) => {
      if (before && view.hasFocus && !stackItem.meta.has(view)) stackItem.meta.set(view, before);
    };
    const onPopped = ({ stackItem }: StackEvent) => {
      const selected = stackItem.meta.get(view) as Selected | undefined;
      const doc = text.doc;
      if (!selected || !doc) return;
      const anchor = Y.createAbsolutePositionFromRelativePosition(selected.anchor, doc);
      const head = Y.createAbsolutePositionFromRelativePosition(selected.head, doc);
      if (!anchor || !head) return;
      const limit = view.state.doc.length;
      view.dispatch({
        selection: { anchor: Math.min(anchor.index, limit), head: Math.min(head.index, limit) },
        scrollIntoView: true,
      });
    };
    history.on("stack-item-added", onAdded);
    history.on("stack-item-popped", onPopped);
    return {
      update(update) {
        // Runs before the binding's own update (see the order in editor.ts), so a stop here
        // separates this change from the earlier ones.
        if (startsStep(update)) history.stopCapturing();
        if (!update.selectionSet && !update.docChanged) return;
        const { anchor, head } = update.state.selection.main;
        before = { anchor: relative(anchor), head: relative(head) };
      },
      destroy() {
        history.off("stack-item-added", onAdded);
        history.off("stack-item-popped", onPopped);
      },
    };
  });

  return [
    selections,
    Prec.high(
      keymap.of([
        { key: "Mod-z", run: undo, preventDefault: true },
        { key: "Mod-y", mac: "Mod-Shift-z", run: redo, preventDefault: true },
        { key: "Mod-Shift-z", run: redo, preventDefault: true },
      ]),
    ),
    // The browser's own menu and shake-to-undo on phones.
    EditorView.domEventHandlers({
      beforeinput(event, view) {
        const command =
          event.inputType === "historyUndo"
            ? undo
            : event.inputType === "historyRedo"
              ? redo
              : null;
        if (!command) return false;
        event.preventDefault();
        return command(view);
      },
    }),
  ];
}
