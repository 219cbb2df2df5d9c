import { useMemo, useSyncExternalStore } from "react";
import { useStore } from "zustand";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import type { TreeSnapshot } from "./folderTree";
import { treeRows, type Row } from "./rows";
import type { TreeUi } from "./treeUi";

export function useTreeSnapshot(): TreeSnapshot {
  const { tree } = useWorkspace();
  return useSyncExternalStore(tree.subscribe, tree.getSnapshot);
}

export function useTreeUi<T>(select: (ui: TreeUi) => T): T {
  return useStore(useWorkspace().treeUi, select);
}

/** The lines that are drawn now. */
export function useTreeRows(): Row[] {
  const snapshot = useTreeSnapshot();
  const filter = useTreeUi((ui) => ui.filter);
  const draftIn = useTreeUi((ui) => ui.draft?.parent ?? null);
  return useMemo(() => treeRows(snapshot, { filter, draftIn }), [snapshot, filter, draftIn]);
}
