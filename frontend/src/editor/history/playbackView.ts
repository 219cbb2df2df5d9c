/** A text as it is written, step by step, in its authors' colours; nobody types into it. */
import {
  EditorState,
  type StateEffect,
  StateEffect as Effect,
  StateField,
} from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  lineNumbers,
  WidgetType,
} from "@codemirror/view";
import type { HistoryAuthor } from "@/gen/api";
import { safeColour } from "@/session/whereabouts";
import { languageOf } from "../languages";
import { editorTheme } from "../theme";
import type { Authorship } from "./authorship";
import type { Step, Timeline } from "./timeline";

/** Between steps farther apart than this the text is replaced as a whole. */
const MAX_COMPOSED = 2_000;

class Caret extends WidgetType {
  private readonly author: HistoryAuthor;

  constructor(author: HistoryAuthor) {
    super();
    this.author = author;
  }

  override eq(other: Caret): boolean {
    return other.author.id === this.author.id;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "cm-peer-caret";
    caret.style.setProperty("--peer", safeColour(this.author.colour));
    return caret;
  }

  override get estimatedHeight(): number {
    return -1;
  }
}

interface Shown {
  authorship: Authorship;
  caret: DecorationSet;
}

const setShown = Effect.define<Shown>();
const shownField = StateField.define<Shown>({
  create: () => ({ authorship: Decoration.none, caret: Decoration.none }),
  update: (shown, transaction) =>
    transaction.effects.find((effect): effect is StateEffect<Shown> => effect.is(setShown))
      ?.value ?? shown,
  provide: (field) => [
    EditorView.decorations.from(field, ({ authorship }) => authorship),
    EditorView.decorations.from(field, ({ caret }) => caret),
  ],
});

const look = EditorView.theme({
  ".cm-author": {
    backgroundColor: "color-mix(in srgb, var(--author) 20%, transparent)",
    boxShadow: "inset 0 -2px color-mix(in srgb, var(--author) 70%, transparent)",
  },
});

export class PlaybackView {
  private readonly timeline: Timeline;
  private readonly view: EditorView;
  private shown = 0;

  constructor(parent: HTMLElement, { path, timeline }: { path: string; timeline: Timeline }) {
    this.timeline = timeline;
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: timeline.version(0).doc,
        extensions: [
          EditorState.lineSeparator.of("\n"),
          EditorState.readOnly.of(true),
          EditorView.editable.of(false),
          EditorView.contentAttributes.of({ "aria-label": "Playback", "aria-readonly": "true" }),
          lineNumbers(),
          shownField,
          look,
          editorTheme,
        ],
      }),
    });
    void this.highlight(path);
  }

  show(at: number): void {
    const { timeline, view } = this;
    const { doc, authorship } = timeline.version(at);
    const step = timeline.step(at);
    const near = Math.abs(at - this.shown) <= MAX_COMPOSED;
    const changes = near
      ? timeline.between(this.shown, at)
      : { from: 0, to: view.state.doc.length, insert: doc };
    this.shown = at;
    const place = step && endOf(step);
    view.dispatch({
      changes,
      effects: [
        setShown.of({ authorship, caret: caretAt(step, place, doc.length) }),
        ...(place === null
          ? []
          : [
              EditorView.scrollIntoView(Math.min(place, doc.length), { y: "nearest", yMargin: 80 }),
            ]),
      ],
    });
  }

  setWrap(on: boolean): void {
    this.view.contentDOM.classList.toggle("cm-lineWrapping", on);
  }

  dispose(): void {
    this.view.destroy();
  }

  private async highlight(path: string): Promise<void> {
    const language = await languageOf(path)?.load();
    if (language) this.view.dispatch({ effects: Effect.appendConfig.of(language) });
  }
}

/** Where the writer's caret is after a step, in the text after it. */
function endOf({ changes }: Step): number {
  let shift = 0;
  let end = 0;
  for (const { from, to, insert } of changes) {
    end = from + shift + insert.length;
    shift += insert.length - (to - from);
  }
  return end;
}

function caretAt(step: Step | null, place: number | null, length: number): DecorationSet {
  if (!step?.author || place === null) return Decoration.none;
  const widget = Decoration.widget({ widget: new Caret(step.author), side: 1 });
  return Decoration.set([widget.range(Math.min(place, length))]);
}
