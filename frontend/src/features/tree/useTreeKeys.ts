import type { KeyboardEvent } from "react";
import type { FileId } from "@/gen/api";
import { openEntry, remove } from "@/features/files/actions";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { rangeBetween, treeMove, type Row } from "./rows";

/** The keys of the tree. */
export function useTreeKeys(rows: readonly Row[]) {
  const ws = useWorkspace();
  const blocked = useEditBlock();

  const focus = (file: FileId, extend: boolean) => {
    ws.treeUi.setState(({ anchor }) => ({
      focused: file,
      anchor: extend ? anchor : file,
      selected: new Set(extend && anchor !== null ? rangeBetween(rows, anchor, file) : [file]),
    }));
  };

  const act = (event: KeyboardEvent): boolean => {
    const { focused, selected, filter } = ws.treeUi.getState();
    const { paths } = ws.tree.getSnapshot();
    const row = rows.find((one) => one.kind === "entry" && one.entry.id === focused);
    const move = treeMove(rows, focused, event.key);
    if (move !== null) {
      if (move.do === "expand") ws.tree.expand(move.file);
      else if (move.do === "collapse") ws.tree.collapse(move.file);
      else focus(move.file, event.shiftKey);
      return true;
    }
    if (event.key === "Escape" && filter !== "") {
      ws.treeUi.setState({ filter: "" });
      return true;
    }
    if (row?.kind !== "entry") return false;
    switch (event.key) {
      case "Enter":
      case " ":
        if (row.entry.kind === "folder") ws.tree.toggle(row.entry.id);
        else openEntry(ws, row.entry, row.path, event.key === " ");
        return true;
      case "F2":
        if (blocked === undefined) ws.treeUi.setState({ renaming: row.entry.id, draft: null });
        return true;
      case "Delete":
      case "Backspace":
        if (event.key === "Backspace" && !event.metaKey) return false;
        if (blocked === undefined) {
          void remove(
            ws,
            [...selected].flatMap((id) => paths.get(id) ?? []),
          );
        }
        return true;
      default:
        return false;
    }
  };

  return {
    focus,
    onKeyDown: (event: KeyboardEvent) => {
      if (event.target !== event.currentTarget) return;
      if (act(event)) {
        event.preventDefault();
        return;
      }
      const { renaming, draft } = ws.treeUi.getState();
      if (renaming !== null || draft !== null) return;
      const typed = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
      if (typed && event.key !== " ") {
        ws.treeUi.setState(({ filter }) => ({ filter: filter + event.key }));
        event.preventDefault();
      }
    },
  };
}
