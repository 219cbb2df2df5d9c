/** What people do to files: each tells what it did and offers to take it back where it can. */
import * as api from "@/api/client";
import type { FileId, TreeEntry } from "@/gen/api";
import { ROOT_FOLDER } from "@/session/contract";
import { isImage } from "@/features/languages/languages";
import { changeLayout } from "@/features/layout/layout";
import { activeTab, closeTabs, openTab, type Tab, type TabKind } from "@/features/tabs/model";
import { baseName, joinPath, parentOf } from "@/features/tree/names";
import { topmost } from "@/features/tree/rows";
import type { Workspace } from "@/features/workspace/workspace";
import { t } from "@/strings/en";
import { complain, say, sayProgress } from "@/ui/Toaster";

const REVEAL_MS = 5000;

function detail(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function kindOf(entry: Pick<TreeEntry, "text" | "name">): TabKind {
  return entry.text && !isImage(entry.name) ? "text" : "blob";
}

/** Opens a file of the tree. */
export function openEntry(ws: Workspace, entry: TreeEntry, path: string, preview: boolean): void {
  if (entry.kind === "folder") return;
  if (entry.kind === "other") {
    complain(t.tree.special);
    return;
  }
  if (entry.kind === "symlink") {
    complain(t.editor.symlink, t.editor.symlinkBody);
    return;
  }
  ws.surface.setState({ editorWanted: !preview });
  ws.tabs.setState((tabs) => openTab(tabs, { file: entry.id, path, kind: kindOf(entry), preview }));
  changeLayout({ mobilePane: "editor" });
}

/** Opens a file that may lie in a folder that is not in view; its document knows its path. */
export function openById(ws: Workspace, file: FileId): void {
  const path = ws.tree.getSnapshot().paths.get(file);
  const entry = path === undefined ? null : ws.tree.find(path);
  if (entry !== null && path !== undefined) {
    openEntry(ws, entry, path, true);
    return;
  }
  const open = ws.tabs.getState().groups.flatMap(({ tabs }) => tabs);
  const known = open.find((tab) => tab.file === file);
  ws.tabs.setState((tabs) =>
    openTab(tabs, {
      file,
      path: known?.path ?? t.loading,
      kind: known?.kind ?? "text",
      preview: true,
    }),
  );
}

/** Opens the file at a path once the tree knows it. */
export async function openPath(ws: Workspace, path: string): Promise<boolean> {
  const entry = await ws.tree.reveal(path, REVEAL_MS);
  if (entry === null || entry.kind === "folder") return false;
  openEntry(ws, entry, path, false);
  return true;
}

/** Shows a file in the tree and puts the focus on it. */
export async function revealInTree(ws: Workspace, path: string): Promise<void> {
  changeLayout({ sidebarOpen: true, sidebarView: "files", mobilePane: "files" });
  const entry = await ws.tree.reveal(path, REVEAL_MS);
  if (entry !== null) {
    ws.treeUi.setState({ focused: entry.id, anchor: entry.id, selected: new Set([entry.id]) });
  }
}

/** Makes a file or folder; a made file opens. */
export async function create(
  ws: Workspace,
  kind: "file" | "folder",
  path: string,
): Promise<boolean> {
  try {
    if (kind === "folder") await api.createFolder(ws.repl, path);
    else await api.createFile(ws.repl, path);
  } catch (error) {
    complain(t.tree.createFailed(baseName(path)), detail(error));
    return false;
  }
  if (kind === "file") await openPath(ws, path);
  else await revealInTree(ws, path);
  return true;
}

/** Renames or moves one file or folder. */
export async function move(ws: Workspace, from: string, to: string): Promise<boolean> {
  if (from === to) return true;
  try {
    await api.moveFile(ws.repl, from, to);
    return true;
  } catch (error) {
    const failed = parentOf(from) === parentOf(to) ? t.tree.renameFailed : t.tree.moveFailed;
    complain(failed(baseName(from)), detail(error));
    return false;
  }
}

/** Moves several things into a folder. */
export async function moveInto(ws: Workspace, paths: string[], folder: string): Promise<void> {
  for (const path of topmost(paths)) {
    if (folder === path || folder.startsWith(`${path}/`)) continue;
    await move(ws, path, joinPath(folder, baseName(path)));
  }
}

/** Deletes at once and offers to take it back. */
export async function remove(ws: Workspace, paths: string[]): Promise<void> {
  const gone: string[] = [];
  for (const path of topmost(paths)) {
    try {
      await api.deleteFile(ws.repl, path);
      gone.push(path);
    } catch (error) {
      complain(t.tree.deleteFailed(baseName(path)), detail(error));
    }
  }
  if (gone.length === 0) return;
  const shown = closeTabsUnder(ws, gone);
  const text =
    gone.length === 1 ? t.tree.deleted(baseName(gone[0] ?? "")) : t.tree.deletedMany(gone.length);
  say(text, { label: t.undo, run: () => void restoreAll(ws, gone, shown) });
}

/** Closes what was deleted here and answers which of it was in front. */
function closeTabsUnder(ws: Workspace, paths: readonly string[]): string | null {
  const under = ({ path }: Tab) =>
    paths.some((gone) => path === gone || path.startsWith(`${gone}/`));
  const front = activeTab(ws.tabs.getState());
  ws.tabs.setState((tabs) =>
    tabs.groups.reduceRight(
      (state, group, at) =>
        closeTabs(
          state,
          at,
          group.tabs.filter(under).map(({ file }) => file),
        ),
      tabs,
    ),
  );
  return front !== null && under(front) ? front.path : null;
}

async function restoreAll(ws: Workspace, paths: string[], shown: string | null): Promise<void> {
  for (const path of paths) await restore(ws, path);
  if (shown !== null) await openPath(ws, shown);
}

/** Brings a deleted file back. */
export async function restore(ws: Workspace, path: string): Promise<boolean> {
  try {
    await api.restoreFile(ws.repl, path);
    return true;
  } catch (error) {
    complain(t.tree.restoreFailed(baseName(path)), detail(error));
    return false;
  }
}

export interface Upload {
  path: string;
  file: File;
}

/** Sends files one after the other. */
export async function upload(ws: Workspace, folder: string, uploads: Upload[]): Promise<void> {
  let done = 0;
  const progress = uploads.length > 0 ? sayProgress(t.tree.uploading(0, uploads.length)) : null;
  for (const { path, file } of uploads) {
    try {
      await api.writeFile(ws.repl, joinPath(folder, path), file);
      done += 1;
      progress?.update(t.tree.uploading(done, uploads.length));
    } catch (error) {
      complain(t.tree.uploadFailed(path), detail(error));
    }
  }
  progress?.end();
  if (done > 0) say(t.tree.uploaded(done));
}

/** Lets the person choose files of their own machine. */
export function chooseFiles(accept: string, multiple: boolean): Promise<File[]> {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = accept;
    input.multiple = multiple;
    input.addEventListener("change", () => resolve([...(input.files ?? [])]));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}

export async function chooseAndUpload(ws: Workspace, folder: string): Promise<void> {
  const files = await chooseFiles("", true);
  await upload(
    ws,
    folder,
    files.map((file) => ({ path: file.name, file })),
  );
}

export async function chooseAndImport(ws: Workspace): Promise<void> {
  const [archive] = await chooseFiles(".zip,application/zip", false);
  if (archive === undefined) return;
  const progress = sayProgress(t.workspace.importing(archive.name));
  try {
    await api.importArchive(ws.repl, archive);
    say(t.workspace.imported(archive.name));
  } catch (error) {
    complain(t.workspace.importFailed, detail(error));
  } finally {
    progress.end();
  }
}

/** Saves an address of this site as a file of the person's machine. */
export function download(address: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

/** Begins naming a new file or folder in a folder of the tree. */
export function startDraft(ws: Workspace, kind: "file" | "folder", folder?: FileId): void {
  const { paths } = ws.tree.getSnapshot();
  const parent = folder ?? folderAtFocus(ws);
  changeLayout({ sidebarOpen: true, sidebarView: "files", mobilePane: "files" });
  ws.tree.expand(parent);
  ws.treeUi.setState({
    draft: { kind, parent, parentPath: paths.get(parent) ?? "" },
    renaming: null,
    filter: "",
  });
}

function folderAtFocus(ws: Workspace): FileId {
  const { focused } = ws.treeUi.getState();
  const path = focused === null ? undefined : ws.tree.getSnapshot().paths.get(focused);
  if (path === undefined) return ROOT_FOLDER;
  const entry = ws.tree.find(path);
  if (entry?.kind === "folder") return entry.id;
  return ws.tree.find(parentOf(path))?.id ?? ROOT_FOLDER;
}
