/**
 * Who wrote which part of a text, as decorations: persistent, so that every version of a long
 * history can share what did not change.
 */
import { RangeSet, type Range } from "@codemirror/state";
import { Decoration } from "@codemirror/view";
import type { HistoryAuthor } from "@/gen/api";
import { safeColour } from "@/session/whereabouts";
import type { TextChange } from "./changes";

export type Authorship = RangeSet<Decoration>;
export const NOBODY: Authorship = RangeSet.empty;

const marks = new Map<string, Decoration>();

function markOf(author: HistoryAuthor): Decoration {
  const colour = safeColour(author.colour);
  const key = `${author.id} ${colour}`;
  let mark = marks.get(key);
  if (!mark) {
    mark = Decoration.mark({
      class: "cm-author",
      attributes: { style: `--author: ${colour}`, title: author.name },
    });
    marks.set(key, mark);
  }
  return mark;
}

/** The authorship after a step. Positions of the changes are those before it. */
export function written(
  before: Authorship,
  step: { changes: readonly TextChange[]; author: HistoryAuthor | null },
  mapping: Parameters<Authorship["map"]>[0],
): Authorship {
  let after = before.map(mapping);
  let shift = 0;
  for (const { from, to, insert } of step.changes) {
    const at = from + shift;
    shift += insert.length - (to - from);
    if (insert === "") continue;
    after = claim(after, at, at + insert.length, step.author);
  }
  return after;
}

/** Gives a range to an author; what surrounds it keeps its own. */
function claim(before: Authorship, from: number, to: number, author: HistoryAuthor | null) {
  const mark = author && markOf(author);
  const add: Range<Decoration>[] = [];
  let [start, end] = [from, to];
  // Marks that touch the range: an equal neighbour becomes one with it, others are cut.
  before.between(from, to, (left, right, value) => {
    if (value === mark) {
      start = Math.min(start, left);
      end = Math.max(end, right);
      return;
    }
    if (left < from) add.push(value.range(left, Math.min(right, from)));
    if (right > to) add.push(value.range(Math.max(left, to), right));
  });
  if (mark) add.push(mark.range(start, end));
  return before.update({ filterFrom: from, filterTo: to, filter: () => false, add, sort: true });
}
