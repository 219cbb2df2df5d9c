import { useState, type DragEvent } from "react";
import type { FileId } from "@/gen/api";
import { ROOT_FOLDER } from "@/session/contract";
import { moveInto, upload } from "@/features/files/actions";
import { droppedFiles } from "@/features/files/dropped";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import type { EntryRow, Row } from "./rows";

/** What a drag inside the tree carries. */
const PATHS_TYPE = "application/x-tandem-paths";

/** Dragging within the tree moves; dropping files from outside uploads. */
export function useTreeDrag(rows: readonly Row[], rowAt: (clientY: number) => Row | undefined) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const [target, setTarget] = useState<FileId | null>(null);

  const folderAt = (event: DragEvent): FileId => {
    const row = rowAt(event.clientY);
    if (row === undefined) return ROOT_FOLDER;
    if (row.kind === "entry" && row.entry.kind === "folder") return row.entry.id;
    return row.parent;
  };
  const pathOf = (folder: FileId): string => ws.tree.getSnapshot().paths.get(folder) ?? "";

  return {
    target,
    onRowDragStart: (event: DragEvent, row: EntryRow) => {
      const { selected } = ws.treeUi.getState();
      const { paths } = ws.tree.getSnapshot();
      const dragged = selected.has(row.entry.id)
        ? [...selected].flatMap((id) => paths.get(id) ?? [])
        : [row.path];
      event.dataTransfer.setData(PATHS_TYPE, JSON.stringify(dragged));
      event.dataTransfer.setData("text/plain", dragged.join("\n"));
      event.dataTransfer.effectAllowed = "copyMove";
    },
    handlers: {
      onDragOver: (event: DragEvent) => {
        const { types } = event.dataTransfer;
        if (blocked !== undefined || !(types.includes(PATHS_TYPE) || types.includes("Files"))) {
          return;
        }
        event.preventDefault();
        event.dataTransfer.dropEffect = types.includes("Files") ? "copy" : "move";
        setTarget(folderAt(event));
      },
      onDragLeave: (event: DragEvent) => {
        const to = event.relatedTarget;
        if (!(to instanceof Node && event.currentTarget.contains(to))) setTarget(null);
      },
      onDrop: (event: DragEvent) => {
        event.preventDefault();
        setTarget(null);
        if (blocked !== undefined) return;
        const folder = pathOf(folderAt(event));
        const moved = event.dataTransfer.getData(PATHS_TYPE);
        if (moved !== "") {
          void moveInto(ws, JSON.parse(moved) as string[], folder);
          return;
        }
        void droppedFiles(event.dataTransfer).then((files) => upload(ws, folder, files));
      },
    },
    rows,
  };
}
