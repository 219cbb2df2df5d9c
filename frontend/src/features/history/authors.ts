/** The people of a session, with names and colours. */
import type { HistoryAuthor, HistorySession } from "@/gen/api";
import { t } from "@/strings/en";

const UNKNOWN: HistoryAuthor = { id: "", name: t.history.somebody, colour: "#888888" };

export function authorsOf(
  { authors }: HistorySession,
  known: readonly HistoryAuthor[],
): HistoryAuthor[] {
  // The server made these edits of the file that was there.
  if (authors.length === 0) return [{ ...UNKNOWN, name: t.history.asItCame }];
  return authors.map((id) => known.find((author) => author.id === id) ?? { ...UNKNOWN, id });
}
