/** The tree as the lines that are drawn. */
import type { FileId, TreeEntry } from "@/gen/api";
import { ROOT_FOLDER } from "@/session/contract";
import { entriesOf, type TreeSnapshot } from "./folderTree";

export interface EntryRow {
  kind: "entry";
  entry: TreeEntry;
  path: string;
  depth: number;
  parent: FileId;
  expanded: boolean;
  position: number;
  setSize: number;
}

/** A line that only says something: a folder is on its way, or holds nothing. */
export interface NoteRow {
  kind: "note";
  note: "loading" | "empty";
  depth: number;
  parent: FileId;
}

/** Where the name of a new file is typed. */
export interface DraftRow {
  kind: "draft";
  depth: number;
  parent: FileId;
}

export type Row = EntryRow | NoteRow | DraftRow;

interface RowOptions {
  /** Shows only what matches, and the folders above it. */
  filter?: string;
  /** The folder in which something is being made. */
  draftIn?: FileId | null;
}

export function treeRows(snapshot: TreeSnapshot, options: RowOptions = {}): Row[] {
  const filter = options.filter?.trim().toLocaleLowerCase() ?? "";
  const rows: Row[] = [];
  const visit = (folder: FileId, path: string, depth: number): boolean => {
    if (options.draftIn === folder) rows.push({ kind: "draft", depth, parent: folder });
    const entries = entriesOf(snapshot.folders.get(folder));
    if (entries === null) {
      if (filter === "") rows.push({ kind: "note", note: "loading", depth, parent: folder });
      return false;
    }
    if (entries.length === 0 && folder !== ROOT_FOLDER && filter === "") {
      rows.push({ kind: "note", note: "empty", depth, parent: folder });
    }
    let found = false;
    for (const [index, entry] of entries.entries()) {
      const inner = path === "" ? entry.name : `${path}/${entry.name}`;
      const expanded = entry.kind === "folder" && snapshot.expanded.has(entry.id);
      const at = rows.length;
      rows.push({
        kind: "entry",
        entry,
        path: inner,
        depth,
        parent: folder,
        expanded,
        position: index + 1,
        setSize: entries.length,
      });
      const below = expanded && visit(entry.id, inner, depth + 1);
      const fits = filter === "" || below || entry.name.toLocaleLowerCase().includes(filter);
      if (!fits) rows.length = at;
      found ||= fits;
    }
    return found;
  };
  visit(ROOT_FOLDER, "", 0);
  return rows;
}

/** What a key does to the tree, given the lines and the focused one. */
export type TreeMove =
  | { do: "focus"; file: FileId }
  | { do: "expand"; file: FileId }
  | { do: "collapse"; file: FileId }
  | null;

/** The arrow, Home and End keys of the ARIA tree pattern. */
export function treeMove(rows: readonly Row[], focused: FileId | null, key: string): TreeMove {
  const entries = rows.filter((row) => row.kind === "entry");
  const at = entries.findIndex((row) => row.entry.id === focused);
  const row = entries[at];
  const focus = (target: EntryRow | undefined): TreeMove =>
    target === undefined ? null : { do: "focus", file: target.entry.id };
  switch (key) {
    case "ArrowDown":
      return focus(entries[at + 1]);
    case "ArrowUp":
      return at < 0 ? focus(entries[0]) : focus(entries[at - 1]);
    case "Home":
      return focus(entries[0]);
    case "End":
      return focus(entries[entries.length - 1]);
    case "ArrowRight":
      if (row?.entry.kind !== "folder") return null;
      if (!row.expanded) return { do: "expand", file: row.entry.id };
      return entries[at + 1]?.parent === row.entry.id ? focus(entries[at + 1]) : null;
    case "ArrowLeft":
      if (row === undefined) return null;
      if (row.expanded) return { do: "collapse", file: row.entry.id };
      return focus(entries.find((one) => one.entry.id === row.parent));
    default:
      return null;
  }
}

/** The ids between two lines, both included, in the order they are drawn. */
export function rangeBetween(rows: readonly Row[], from: FileId, to: FileId): FileId[] {
  const ids = rows.filter((row) => row.kind === "entry").map((row) => row.entry.id);
  const [a, b] = [ids.indexOf(from), ids.indexOf(to)];
  if (a < 0 || b < 0) return [to];
  return ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}

/** Paths without those that lie under another of them. */
export function topmost(paths: readonly string[]): string[] {
  return paths.filter((path) => !paths.some((other) => path.startsWith(`${other}/`)));
}
