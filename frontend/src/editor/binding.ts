/**
 * Keeps a CodeMirror document and a Y.Text equal. Offsets are UTF-16 units on both sides and
 * only "\n" separates lines (see `lineSeparator` in editor.ts), so they agree one to one, even
 * when another client wrote a "\r".
 */
import { Annotation, type ChangeSpec, type Extension, Transaction } from "@codemirror/state";
import type { EditorView } from "@codemirror/view";
import { type PluginValue, ViewPlugin, type ViewUpdate } from "@codemirror/view";
import type * as Y from "yjs";

/** Origin of the Yjs transactions of one view. By class, so that undo covers all views of this
 *  page; by instance, so that each view skips only its own echo. */
export class ViewOrigin {}

/** Marks CodeMirror transactions that came from the document and must not go back. */
export const fromDocument = Annotation.define<true>();

class Binding implements PluginValue {
  private readonly view: EditorView;
  private readonly text: Y.Text;
  private readonly origin = new ViewOrigin();

  constructor(view: EditorView, text: Y.Text) {
    this.view = view;
    this.text = text;
    text.observe(this.onText);
  }

  update(update: ViewUpdate): void {
    if (!update.docChanged) return;
    const local = update.transactions.filter(
      (transaction) => transaction.docChanged && !transaction.annotation(fromDocument),
    );
    if (local.length === 0) return;
    this.text.doc?.transact(() => {
      // Each transaction's offsets refer to the document before it; within one, to its start.
      for (const transaction of local) {
        let shift = 0;
        transaction.changes.iterChanges((from, to, _fromB, _toB, insert) => {
          if (to > from) this.text.delete(from + shift, to - from);
          if (insert.length > 0)
            this.text.insert(from + shift, insert.sliceString(0, undefined, "\n"));
          shift += insert.length - (to - from);
        });
      }
    }, this.origin);
  }

  destroy(): void {
    this.text.unobserve(this.onText);
  }

  private readonly onText = (event: Y.YTextEvent, transaction: Y.Transaction) => {
    if (transaction.origin === this.origin) return;
    const changes: ChangeSpec[] = [];
    let at = 0;
    for (const { retain, insert, delete: removed } of event.delta) {
      if (retain !== undefined) at += retain;
      else if (typeof insert === "string") changes.push({ from: at, insert });
      else if (removed !== undefined) {
        changes.push({ from: at, to: at + removed });
        at += removed;
      }
    }
    this.view.dispatch({
      changes,
      annotations: [fromDocument.of(true), Transaction.addToHistory.of(false)],
    });
  };
}

/** The extension that binds a view to a text. The view's document must equal it at first. */
export function bindText(text: Y.Text): Extension {
  return ViewPlugin.define((view) => new Binding(view, text));
}
