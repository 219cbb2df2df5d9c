/** What is selected, focused, being named or filtered in the tree. */
import { createStore, type StoreApi } from "zustand/vanilla";
import type { FileId } from "@/gen/api";

export interface Draft {
  kind: "file" | "folder";
  parent: FileId;
  parentPath: string;
}

export interface TreeUi {
  focused: FileId | null;
  /** Where a range begins. */
  anchor: FileId | null;
  selected: ReadonlySet<FileId>;
  draft: Draft | null;
  renaming: FileId | null;
  filter: string;
}

export type TreeUiStore = StoreApi<TreeUi>;

export function createTreeUi(): TreeUiStore {
  return createStore<TreeUi>(() => ({
    focused: null,
    anchor: null,
    selected: new Set(),
    draft: null,
    renaming: null,
    filter: "",
  }));
}
