import { useEffect } from "react";
import { ROOT_FOLDER } from "@/session/contract";
import { entriesOf } from "@/features/tree/folderTree";
import { openEntry } from "@/features/files/actions";
import { changeLayout, useLayout } from "@/features/layout/layout";
import { firstFile, readme, sourceFolder } from "./firstFile";
import { useWorkspace } from "./useWorkspace";
import type { Workspace } from "./workspace";

const opened = (repl: string) => `tandem.opened.${repl}`;

/** Opens the main file at the first visit, so that nobody faces an empty page. */
export function useFirstFile(): void {
  const ws = useWorkspace();
  useEffect(() => {
    if (localStorage.getItem(opened(ws.repl)) !== null) return;
    const open = () => {
      if (!tryOpen(ws)) return;
      localStorage.setItem(opened(ws.repl), "1");
      stop();
    };
    const stop = ws.tree.subscribe(open);
    open();
    return stop;
  }, [ws]);
}

/** Opens the main file of the top or of its source folder; false while lists are on their way. */
function tryOpen(ws: Workspace): boolean {
  if (ws.tabs.getState().groups.some(({ tabs }) => tabs.length > 0)) return true;
  const { folders } = ws.tree.getSnapshot();
  const top = entriesOf(folders.get(ROOT_FOLDER));
  if (top === null || top.length === 0) return false;
  const pane = useLayout.getState().mobilePane;
  const open = (...[entry, path]: [Parameters<typeof openEntry>[1], string]) => {
    openEntry(ws, entry, path, false);
    changeLayout({ mobilePane: pane });
    return true;
  };
  const main = firstFile(top);
  if (main !== null) return open(main, main.name);
  const folder = sourceFolder(top);
  if (folder !== null) {
    const inside = entriesOf(folders.get(folder.id));
    if (inside === null) {
      ws.tree.expand(folder.id);
      return false;
    }
    const inner = firstFile(inside);
    if (inner !== null) return open(inner, `${folder.name}/${inner.name}`);
  }
  const last = readme(top);
  return last === null ? true : open(last, last.name);
}
