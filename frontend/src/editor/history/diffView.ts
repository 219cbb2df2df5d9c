/**
 * A version of a text beside the present one, in one column: what only the version has stands
 * in green, what only the present has in red. So it reads as what a restore would do.
 */
import {
  getChunks,
  goToNextChunk,
  goToPreviousChunk,
  originalDocChangeEffect,
  unifiedMergeView,
} from "@codemirror/merge";
import { ChangeSet, Compartment, EditorState, StateEffect, Text } from "@codemirror/state";
import { EditorView, lineNumbers } from "@codemirror/view";
import { languageOf } from "../languages";
import { editorTheme } from "../theme";

/** A comparison may take this long before a coarser one is used. */
const DIFF = { scanLimit: 2_000, timeout: 300 };

const look = EditorView.theme({
  "&.cm-merge-b .cm-changedLine, .cm-insertedLine, .cm-changedLine": {
    backgroundColor: "var(--ok-soft)",
  },
  "&.cm-merge-b .cm-changedText, .cm-changedText": {
    background: "color-mix(in srgb, var(--ok) 28%, transparent)",
  },
  ".cm-deletedChunk": { backgroundColor: "var(--danger-soft)", paddingLeft: "6px" },
  ".cm-deletedChunk .cm-deletedText, .cm-deletedText": {
    background: "color-mix(in srgb, var(--danger) 30%, transparent)",
  },
  ".cm-deletedChunk .cm-deletedLine, .cm-deletedChunk del": { textDecoration: "none" },
  ".cm-changeGutter": { width: "3px" },
  "&.cm-editor .cm-changedLineGutter": { backgroundColor: "var(--ok)" },
  "&.cm-editor .cm-deletedLineGutter": { backgroundColor: "var(--danger)" },
  ".cm-collapsedLines": {
    background: "var(--bg-hover)",
    color: "var(--text-muted)",
    fontFamily: "var(--font-sans)",
    fontSize: "12px",
  },
});

export class DiffView {
  private readonly view: EditorView;
  private readonly comparing = new Compartment();
  private present: Text;
  private differences = true;
  private readonly onCount: (differences: number) => void;

  constructor(
    parent: HTMLElement,
    texts: { path: string; version: string; present: string },
    onCount: (differences: number) => void,
  ) {
    this.present = Text.of(texts.present.split("\n"));
    this.onCount = onCount;
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: Text.of(texts.version.split("\n")),
        extensions: [
          EditorState.lineSeparator.of("\n"),
          EditorState.readOnly.of(true),
          EditorView.editable.of(false),
          EditorView.contentAttributes.of({
            "aria-label": "Earlier version",
            "aria-readonly": "true",
            tabindex: "0",
          }),
          lineNumbers(),
          this.comparing.of(this.comparison()),
          look,
          editorTheme,
        ],
      }),
    });
    this.tellCount();
    if (this.count() > 0) goToNextChunk(this.view);
    void this.highlight(texts.path);
  }

  /** The present text went on. */
  setPresent(text: string): void {
    const doc = Text.of(text.split("\n"));
    if (doc.eq(this.present)) return;
    const changes = ChangeSet.of(
      { from: 0, to: this.present.length, insert: doc },
      this.present.length,
    );
    this.present = doc;
    if (!this.differences) return;
    this.view.dispatch({ effects: originalDocChangeEffect(this.view.state, changes) });
    this.tellCount();
  }

  showDifferences(on: boolean): void {
    if (this.differences === on) return;
    this.differences = on;
    this.view.dispatch({
      effects: this.comparing.reconfigure(on ? this.comparison() : []),
    });
    if (on) this.tellCount();
  }

  next(): void {
    goToNextChunk(this.view);
  }

  previous(): void {
    goToPreviousChunk(this.view);
  }

  setWrap(on: boolean): void {
    this.view.contentDOM.classList.toggle("cm-lineWrapping", on);
  }

  dispose(): void {
    this.view.destroy();
  }

  private comparison() {
    return unifiedMergeView({
      original: this.present,
      mergeControls: false,
      allowInlineDiffs: false,
      collapseUnchanged: { margin: 6, minSize: 12 },
      diffConfig: DIFF,
    });
  }

  private count(): number {
    return getChunks(this.view.state)?.chunks.length ?? 0;
  }

  private tellCount(): void {
    this.onCount(this.count());
  }

  private async highlight(path: string): Promise<void> {
    const language = await languageOf(path)?.load();
    if (language) this.view.dispatch({ effects: StateEffect.appendConfig.of(language) });
  }
}
