import { useEffect, useRef, type MouseEvent } from "react";
import { ROOT_FOLDER } from "@/session/contract";
import { openEntry } from "@/features/files/actions";
import { pinTab } from "@/features/tabs/model";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { ContextMenu } from "@/ui/ContextMenu";
import { Skeleton } from "@/ui/Skeleton";
import { DraftRow } from "./DraftRow";
import { treeMenu } from "./entryMenu";
import type { EntryRow } from "./rows";
import { TreeRow } from "./TreeRow";
import { useTreeRows, useTreeSnapshot, useTreeUi } from "./useTree";
import { useTreeDrag } from "./useTreeDrag";
import { useTreeKeys } from "./useTreeKeys";
import { useWindowed } from "./useWindowed";
import styles from "./Tree.module.css";

const ROW = 24;
const COARSE_ROW = 36;

const rowHeight = () => (window.matchMedia("(pointer: coarse)").matches ? COARSE_ROW : ROW);
const rowId = (file: string) => `tree-${file}`;

/** The files of the repl, folder by folder. */
export function Tree() {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const rows = useTreeRows();
  const root = useTreeSnapshot().folders.get(ROOT_FOLDER);
  const focused = useTreeUi((ui) => ui.focused);
  const box = useRef<HTMLDivElement>(null);
  const height = rowHeight();
  const { first, last, reveal } = useWindowed(box, rows.length, height);
  const keys = useTreeKeys(rows);
  const drag = useTreeDrag(rows, (clientY) => {
    const element = box.current;
    if (element === null) return undefined;
    const y = clientY - element.getBoundingClientRect().top + element.scrollTop;
    return rows[Math.floor(y / height)];
  });
  const focusedAt = rows.findIndex((row) => row.kind === "entry" && row.entry.id === focused);
  useEffect(() => {
    if (focusedAt >= 0) reveal(focusedAt);
  }, [focusedAt, reveal]);

  const click = (event: MouseEvent, row: EntryRow) => {
    const { entry, path } = row;
    box.current?.focus({ preventScroll: true });
    if (event.ctrlKey || event.metaKey) {
      ws.treeUi.setState(({ selected }) => {
        const next = new Set(selected);
        if (!next.delete(entry.id)) next.add(entry.id);
        return { focused: entry.id, anchor: entry.id, selected: next };
      });
      return;
    }
    keys.focus(entry.id, event.shiftKey);
    if (event.shiftKey) return;
    if (entry.kind === "folder") ws.tree.toggle(entry.id);
    else openEntry(ws, entry, path, true);
  };

  const keep = ({ entry }: EntryRow) => {
    if (entry.kind === "folder") return;
    ws.surface.setState({ editorWanted: true });
    ws.tabs.setState((tabs) => pinTab(tabs, entry.id));
    ws.editor.getState().editor?.focus();
  };

  if (root?.state === "loading") return <Loading />;
  return (
    <ContextMenu items={treeMenu(ws, blocked)}>
      <div
        ref={box}
        id="tree"
        role="tree"
        tabIndex={0}
        aria-label={t.tree.label}
        aria-multiselectable
        aria-activedescendant={focusedAt >= 0 && focused !== null ? rowId(focused) : undefined}
        className={styles.tree}
        data-target={drag.target === ROOT_FOLDER || undefined}
        onKeyDown={keys.onKeyDown}
        {...drag.handlers}
      >
        <div className={styles.sizer} role="none" style={{ height: rows.length * height }}>
          <div role="none" style={{ transform: `translateY(${first * height}px)` }}>
            {rows.slice(first, last).map((row) => {
              if (row.kind === "draft") return <DraftRow key="draft" row={row} />;
              if (row.kind === "note") {
                return (
                  <div
                    key={`${row.parent}-note`}
                    role="none"
                    className={styles.note}
                    style={{ paddingLeft: 28 + row.depth * 14 }}
                  >
                    {row.note === "empty" ? t.tree.folderEmpty : <Skeleton width={96} height={9} />}
                  </div>
                );
              }
              return (
                <TreeRow
                  key={row.entry.id}
                  id={rowId(row.entry.id)}
                  row={row}
                  target={drag.target === row.entry.id}
                  onClick={click}
                  onDoubleClick={keep}
                  onDragStart={drag.onRowDragStart}
                />
              );
            })}
          </div>
        </div>
        {rows.length === 0 && <Nothing />}
      </div>
    </ContextMenu>
  );
}

function Nothing() {
  const filter = useTreeUi((ui) => ui.filter);
  return <p className={styles.nothing}>{filter === "" ? t.tree.emptyBody : t.tree.noMatch}</p>;
}

function Loading() {
  return (
    <div className={styles.loading} role="status" aria-label={t.tree.folderLoading}>
      {[120, 88, 136, 104, 72].map((width) => (
        <Skeleton key={width} width={width} height={10} />
      ))}
    </div>
  );
}
