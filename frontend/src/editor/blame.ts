/** Who wrote each line, in a gutter of its own. What is typed meanwhile moves the marks along. */
import {
  type Extension,
  RangeSet,
  RangeSetBuilder,
  StateEffect,
  StateField,
} from "@codemirror/state";
import { type EditorView, gutter, GutterMarker } from "@codemirror/view";
import type { LineAuthor } from "@/session/contract";

class BlameMarker extends GutterMarker {
  private readonly blame: LineAuthor;
  private readonly first: boolean;

  constructor(blame: LineAuthor, first: boolean) {
    super();
    this.blame = blame;
    this.first = first;
  }

  override eq(other: BlameMarker): boolean {
    return (
      this.first === other.first &&
      this.blame.title === other.blame.title &&
      this.blame.age === other.blame.age
    );
  }

  override toDOM(): HTMLElement {
    const { name, colour, age, title } = this.blame;
    const mark = document.createElement("div");
    mark.className = "cm-blame-mark";
    mark.title = title;
    mark.style.setProperty("--author", colour);
    if (!this.first) return mark;
    const who = mark.appendChild(document.createElement("span"));
    who.className = "cm-blame-name";
    who.textContent = name;
    const when = mark.appendChild(document.createElement("span"));
    when.className = "cm-blame-age";
    when.textContent = age;
    return mark;
  }
}

const setBlame = StateEffect.define<readonly LineAuthor[]>();

const blameField = StateField.define<RangeSet<GutterMarker>>({
  create: () => RangeSet.empty,
  update(marks, transaction) {
    let next = marks.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (!effect.is(setBlame)) continue;
      const { doc } = transaction.state;
      const builder = new RangeSetBuilder<GutterMarker>();
      for (const blame of effect.value) {
        const last = Math.min(blame.line + blame.lines - 1, doc.lines);
        for (let line = Math.max(1, blame.line); line <= last; line += 1) {
          const { from } = doc.line(line);
          builder.add(from, from, new BlameMarker(blame, line === blame.line));
        }
      }
      next = builder.finish();
    }
    return next;
  },
});

/** The gutter; empty until {@link showBlame}. */
export function blameGutter(): Extension {
  return [
    blameField,
    gutter({
      class: "cm-blame",
      markers: (view) => view.state.field(blameField),
      initialSpacer: () => new BlameMarker(SPACER, true),
    }),
  ];
}

const SPACER: LineAuthor = {
  line: 1,
  lines: 1,
  name: "Somebody",
  colour: "transparent",
  age: "12 mo ago",
  title: "",
};

export function showBlame(view: EditorView, blame: readonly LineAuthor[]): void {
  view.dispatch({ effects: setBlame.of(blame) });
}
