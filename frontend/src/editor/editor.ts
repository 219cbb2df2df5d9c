/**
 * One editor on the screen: CodeMirror bound to a document. It binds to one replica at a time
 * and starts anew, in place, when the document's replica is replaced. A rename changes only
 * the language; text, caret and undo stay.
 */
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, indentWithTab, toggleComment } from "@codemirror/commands";
import {
  bracketMatching,
  foldGutter,
  foldKeymap,
  indentOnInput,
  indentUnit,
} from "@codemirror/language";
import {
  highlightSelectionMatches,
  openSearchPanel,
  search,
  searchKeymap,
} from "@codemirror/search";
import type { EditorSelection } from "@codemirror/state";
import {
  Compartment,
  EditorState,
  type Extension,
  type StateEffect,
  Text,
} from "@codemirror/state";
import {
  crosshairCursor,
  drawSelection,
  dropCursor,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  rectangularSelection,
  runScopeHandlers,
} from "@codemirror/view";
import type * as Y from "yjs";
import type { MemberId } from "@/gen/api";
import type { EditorCursor, EditorOnScreen, EditorOptions, LineAuthor } from "@/session/contract";
import type { Replica } from "@/session/model";
import { bindText } from "./binding";
import { blameGutter, showBlame } from "./blame";
import { detectIndent, indentOf, indentText } from "./indent";
import { languageOf } from "./languages";
import { peersField, showPeers } from "./peers";
import { editorTheme } from "./theme";
import { historyOf, ownUndo } from "./undo";

/** Where an editor of a text was when it was taken off the screen. */
interface Place {
  selection: EditorSelection;
  scroll: StateEffect<unknown>;
}
const places = new WeakMap<Y.Text, Place>();

/** Keys that belong to the page (Run). */
const PAGE_KEYS = new Set(["Mod-Enter"]);
const editingKeys = defaultKeymap.filter(
  ({ key }) =>
    key === undefined || (!PAGE_KEYS.has(key) && key !== "Ctrl-m" && key !== "Shift-Alt-m"),
);

const NO_BLAME: Extension = [];

const access = (readOnly: boolean): Extension => [
  EditorState.readOnly.of(readOnly),
  EditorView.contentAttributes.of(readOnly ? { "aria-readonly": "true" } : {}),
];

export class CodeEditor implements EditorOnScreen {
  private readonly options: EditorOptions;
  private readonly unsubscribe: () => void;
  private readonly language = new Compartment();
  private readonly indent = new Compartment();
  private readonly access = new Compartment();
  private readonly wrapping = new Compartment();
  private readonly blame = new Compartment();
  private view: EditorView | null = null;
  private parent: HTMLElement | null = null;
  private replica: Replica | null = null;
  private languageName: string | null | undefined;
  private followed: MemberId | null = null;
  private wrap: boolean;
  private tabLeaves = false;
  private disposed = false;

  constructor(options: EditorOptions) {
    this.options = options;
    this.wrap = options.wrap ?? false;
    this.unsubscribe = options.document.subscribe(() => this.refresh());
  }

  attach(element: HTMLElement): void {
    this.parent = element;
    if (this.options.fontSize) this.setFontSize(this.options.fontSize);
    this.refresh();
  }

  focus(): void {
    this.view?.focus();
  }

  openSearch(): void {
    if (this.view) openSearchPanel(this.view);
  }

  goToLine(line: number): void {
    const view = this.view;
    if (!view) return;
    const { from } = view.state.doc.line(Math.max(1, Math.min(line, view.state.doc.lines)));
    view.dispatch({
      selection: { anchor: from },
      effects: EditorView.scrollIntoView(from, { y: "center" }),
    });
    view.focus();
  }

  undo(): void {
    if (this.replica && !this.isReadOnly()) historyOf(this.replica.text).undo();
  }

  redo(): void {
    if (this.replica && !this.isReadOnly()) historyOf(this.replica.text).redo();
  }

  toggleComment(): void {
    if (this.view) toggleComment(this.view);
  }

  press(key: string): void {
    if (!this.view) return;
    runScopeHandlers(this.view, new KeyboardEvent("keydown", { key }), "editor");
    this.view.focus();
  }

  revealPeer(member: MemberId): boolean {
    const view = this.view;
    if (!view) return false;
    const carets = [...view.state.field(peersField).values()].filter(
      (peer) => peer.member === member,
    );
    const latest = carets.sort((a, b) => b.movedAt - a.movedAt)[0];
    if (!latest) return false;
    const head = Math.min(latest.head, view.state.doc.length);
    const box = view.coordsAtPos(head);
    const frame = view.scrollDOM.getBoundingClientRect();
    if (!box || box.top < frame.top || box.bottom > frame.bottom) {
      view.dispatch({ effects: EditorView.scrollIntoView(head, { y: "center" }) });
    }
    return true;
  }

  followPeer(member: MemberId | null): void {
    this.followed = member;
    if (member !== null) this.revealPeer(member);
  }

  setWrap(on: boolean): void {
    this.wrap = on;
    this.view?.dispatch({
      effects: this.wrapping.reconfigure(on ? EditorView.lineWrapping : []),
    });
  }

  setLineAuthors(authors: readonly LineAuthor[] | null): void {
    const { view } = this;
    if (!view) return;
    const shown = this.blame.get(view.state) !== NO_BLAME;
    if (shown !== (authors !== null)) {
      view.dispatch({
        effects: this.blame.reconfigure(authors === null ? NO_BLAME : blameGutter()),
      });
    }
    if (authors !== null) showBlame(view, authors);
  }

  setFontSize(pixels: number): void {
    this.parent?.style.setProperty("--editor-font-size", `${pixels}px`);
    this.view?.requestMeasure();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.unsubscribe();
    this.takeDown();
  }

  // --- the document ---

  private refresh(): void {
    if (this.disposed || this.parent === null) return;
    const shown = this.options.document.getSnapshot();
    if (shown.state !== "open") {
      // Nothing trustworthy to type into: the page says why.
      if (shown.state === "unavailable") this.takeDown();
      return;
    }
    if (shown.replica !== this.replica) this.bind(shown.replica, shown.path, shown.readOnly);
    else {
      if (shown.readOnly !== this.isReadOnly()) {
        this.view?.dispatch({ effects: this.access.reconfigure(access(shown.readOnly)) });
      }
      this.setLanguage(shown.path);
    }
  }

  private bind(replica: Replica, path: string, readOnly: boolean): void {
    const focused = this.view?.hasFocus ?? false;
    this.takeDown();
    this.replica = replica;
    const place = places.get(replica.text);
    const doc = Text.of(replica.text.toString().split("\n"));
    const selection = place?.selection;
    const fits = selection?.ranges.every((range) => range.to <= doc.length);
    const state = EditorState.create({
      doc,
      ...(fits && selection ? { selection } : {}),
      extensions: this.extensions(replica, readOnly),
    });
    this.view = new EditorView({
      state,
      ...(this.parent ? { parent: this.parent } : {}),
      ...(fits && place ? { scrollTo: place.scroll } : {}),
    });
    this.languageName = undefined;
    this.setLanguage(path);
    this.tellCursor();
    if (focused) this.view.focus();
  }

  private takeDown(): void {
    const { view, replica } = this;
    if (view && replica) {
      places.set(replica.text, { selection: view.state.selection, scroll: view.scrollSnapshot() });
    }
    view?.destroy();
    this.view = null;
    this.replica = null;
  }

  private isReadOnly(): boolean {
    return this.view?.state.readOnly ?? true;
  }

  private extensions(replica: Replica, readOnly: boolean): Extension {
    return [
      // Only "\n" separates lines, so that offsets equal those of the Y.Text; what is pasted or
      // dropped is made to fit.
      EditorState.lineSeparator.of("\n"),
      EditorView.clipboardInputFilter.of((text) => text.replace(/\r\n?/g, "\n")),
      EditorState.allowMultipleSelections.of(true),
      this.access.of(access(readOnly)),
      this.indent.of([]),
      this.language.of([]),
      this.wrapping.of(this.wrap ? EditorView.lineWrapping : []),
      this.blame.of(NO_BLAME),
      lineNumbers(),
      foldGutter(),
      highlightSpecialChars(),
      drawSelection(),
      dropCursor(),
      rectangularSelection(),
      crosshairCursor(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      highlightSelectionMatches(),
      bracketMatching(),
      closeBrackets(),
      indentOnInput(),
      autocompletion(),
      search({ top: true }),
      ownUndo(replica.text),
      bindText(replica.text),
      showPeers(replica.text, replica.awareness, () => this.onPeers()),
      keymap.of([
        { key: "Mod-s", run: () => this.save(), preventDefault: true },
        { key: "Ctrl-m", run: (view) => this.toggleTab(view), preventDefault: true },
        ...closeBracketsKeymap,
        ...completionKeymap,
        ...searchKeymap,
        ...foldKeymap,
        ...editingKeys,
        indentWithTab,
      ]),
      EditorView.updateListener.of((update) => {
        if (update.selectionSet || update.docChanged) this.tellCursor();
        const byHand = update.transactions.some(
          (transaction) => transaction.isUserEvent("input") || transaction.isUserEvent("delete"),
        );
        if (byHand) this.options.onLeaveFollow?.();
      }),
      EditorView.domEventObservers({ wheel: () => this.options.onLeaveFollow?.() }),
      EditorView.contentAttributes.of({ "aria-label": "Code editor", spellcheck: "false" }),
      editorTheme,
    ];
  }

  // --- language and indentation ---

  private setLanguage(path: string): void {
    const view = this.view;
    const language = languageOf(path);
    const name = language?.name ?? null;
    if (!view || name === this.languageName) return;
    this.languageName = name;
    const indent = detectIndent(view.state.doc) ?? indentOf(language?.indent ?? "  ");
    view.dispatch({
      effects: [
        this.language.reconfigure([]),
        this.indent.reconfigure([
          indentUnit.of(indentText(indent)),
          EditorState.tabSize.of(indent.size),
        ]),
      ],
    });
    this.options.onLanguage?.(name);
    this.options.onIndent?.(indent);
    if (!language) return;
    language.load().then(
      (support) => {
        if (this.view !== view || this.languageName !== name) return;
        view.dispatch({ effects: this.language.reconfigure(support) });
      },
      () => {
        // Without its highlighting a text is still a text; the next opening tries again.
        if (this.view === view) this.languageName = undefined;
      },
    );
  }

  // --- what is told to the page ---

  private save(): boolean {
    this.options.onSave?.();
    return true;
  }

  private toggleTab(view: EditorView): boolean {
    this.tabLeaves = !this.tabLeaves;
    view.setTabFocusMode(this.tabLeaves);
    this.options.onTabMode?.(this.tabLeaves);
    return true;
  }

  private tellCursor(): void {
    const view = this.view;
    if (!view || !this.options.onCursor) return;
    const { main, ranges } = view.state.selection;
    const line = view.state.doc.lineAt(main.head);
    const cursor: EditorCursor = {
      line: line.number,
      column: main.head - line.from + 1,
      selected: ranges.reduce((sum, range) => sum + range.to - range.from, 0),
      selections: ranges.length,
    };
    this.options.onCursor(cursor);
  }

  private onPeers(): void {
    if (this.followed !== null) this.revealPeer(this.followed);
  }
}
