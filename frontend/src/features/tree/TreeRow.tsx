import { ChevronRight } from "lucide-react";
import type { DragEvent, MouseEvent } from "react";
import { FileIcon } from "@/features/languages/FileIcon";
import { move } from "@/features/files/actions";
import { useEditBlock, useTabs, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { classes } from "@/ui/classes";
import { ContextMenu } from "@/ui/ContextMenu";
import { InlineInput } from "@/ui/InlineInput";
import { entryMenu } from "./entryMenu";
import { faultText } from "./faultText";
import { entriesOf } from "./folderTree";
import { joinPath, parentOf, stemLength } from "./names";
import { PresenceDots } from "./PresenceDots";
import type { EntryRow } from "./rows";
import { useTreeUi } from "./useTree";
import styles from "./Tree.module.css";

interface TreeRowProps {
  row: EntryRow;
  id: string;
  /** A drop would land in this folder. */
  target: boolean;
  onClick: (event: MouseEvent, row: EntryRow) => void;
  onDoubleClick: (row: EntryRow) => void;
  onDragStart: (event: DragEvent, row: EntryRow) => void;
}

/** One file or folder of the tree. */
export function TreeRow({ row, id, target, onClick, onDoubleClick, onDragStart }: TreeRowProps) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const { entry, path } = row;
  const selected = useTreeUi((ui) => ui.selected.has(entry.id));
  const focused = useTreeUi((ui) => ui.focused === entry.id);
  const renaming = useTreeUi((ui) => ui.renaming === entry.id);
  const inFront = useTabs(({ groups, focused: at }) => groups[at]?.active === entry.id);
  const menu = () => {
    const chosen = ws.treeUi.getState().selected;
    const { paths } = ws.tree.getSnapshot();
    const all = chosen.has(entry.id) ? [...chosen].flatMap((one) => paths.get(one) ?? []) : [path];
    return entryMenu(ws, { entry, path, paths: all }, blocked);
  };
  return (
    <ContextMenu items={menu()}>
      <div
        id={id}
        role="treeitem"
        aria-label={entry.name}
        aria-level={row.depth + 1}
        aria-posinset={row.position}
        aria-setsize={row.setSize}
        aria-selected={selected}
        aria-expanded={entry.kind === "folder" ? row.expanded : undefined}
        className={classes(styles.row, entry.ignored && styles.ignored)}
        data-focused={focused || undefined}
        data-front={inFront || undefined}
        data-target={target || undefined}
        style={{ paddingLeft: 8 + row.depth * 14 }}
        title={entry.ignored ? t.tree.ignored : undefined}
        draggable={blocked === undefined && !renaming}
        onClick={(event) => onClick(event, row)}
        onDoubleClick={() => onDoubleClick(row)}
        onDragStart={(event) => onDragStart(event, row)}
      >
        <span className={styles.twist}>
          {entry.kind === "folder" && (
            <ChevronRight size={14} className={row.expanded ? styles.turned : undefined} />
          )}
        </span>
        <FileIcon name={entry.name} kind={entry.kind} open={row.expanded} />
        {renaming ? <Renaming row={row} /> : <span className={styles.name}>{entry.name}</span>}
        <PresenceDots file={entry.id} />
      </div>
    </ContextMenu>
  );
}

function Renaming({ row }: { row: EntryRow }) {
  const ws = useWorkspace();
  const { entry, path, parent } = row;
  const end = () => {
    ws.treeUi.setState({ renaming: null });
    document.getElementById("tree")?.focus();
  };
  const siblings = (entriesOf(ws.tree.getSnapshot().folders.get(parent)) ?? [])
    .map(({ name }) => name)
    .filter((name) => name !== entry.name);
  return (
    <InlineInput
      label={t.tree.nameLabel}
      initial={entry.name}
      select={entry.kind === "folder" ? entry.name.length : stemLength(entry.name)}
      check={(name) => faultText(name, siblings)}
      onCancel={end}
      onDone={(name) => {
        end();
        void move(ws, path, joinPath(parentOf(path), name));
      }}
    />
  );
}
