import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { moment, relativeTime } from "@/features/format/time";
import { useSettings } from "@/features/settings/settings";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import type { BlameLines, HistoryAuthor } from "@/gen/api";
import type { EditorOnScreen, LineAuthor, OpenDocument } from "@/session/contract";
import { safeColour } from "@/session/whereabouts";
import { t } from "@/strings/en";
import { complain } from "@/ui/Toaster";
import { refreshBlame, useBlameQuery } from "./queries";

/** How long the text has to rest before its lines are asked about again. */
const REST_MS = 1_500;

/** Keeps the gutter of an editor in front current: who wrote each line. */
export function useLineAuthors(
  editor: EditorOnScreen | null,
  document: OpenDocument,
  inFront: boolean,
): void {
  const ws = useWorkspace();
  const client = useQueryClient();
  const wanted = useSettings((settings) => settings.blame);
  const on = wanted && inFront && editor !== null;
  const { file } = document;
  const path = document.getSnapshot().path ?? "";
  const { data, error } = useBlameQuery({ repl: ws.repl, file, path }, on && path !== "");
  useEffect(() => {
    if (!wanted) editor?.setLineAuthors(null);
    else if (data !== undefined) editor?.setLineAuthors(readable(data, Date.now()));
  }, [editor, wanted, data]);
  useEffect(() => {
    if (error !== null) complain(t.history.blameFailed, error.message);
  }, [error]);
  useEffect(() => {
    const shown = document.getSnapshot();
    if (!on || shown.state !== "open") return;
    const { text } = shown.replica;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = () => {
      clearTimeout(timer);
      const of = { repl: ws.repl, file, path };
      timer = setTimeout(() => void refreshBlame(client, of), REST_MS);
    };
    text.observe(later);
    return () => {
      clearTimeout(timer);
      text.unobserve(later);
    };
  }, [ws, client, document, file, path, on]);
}

function readable(
  { lines, authors }: { lines: BlameLines[]; authors: HistoryAuthor[] },
  now: number,
): LineAuthor[] {
  const known = new Map(authors.map((author) => [author.id, author]));
  return lines.map(({ line, lines, author, ms }) => {
    const who = author === null ? undefined : known.get(author);
    if (author === null) {
      const title = t.history.asItCame;
      return { line, lines, name: "", colour: "transparent", age: "", title };
    }
    const name = who?.name ?? t.history.somebody;
    return {
      line,
      lines,
      name,
      colour: safeColour(who?.colour),
      age: ms === null ? "" : relativeTime(ms, now),
      title: ms === null ? name : t.history.blameTitle(name, moment(ms, now)),
    };
  });
}
