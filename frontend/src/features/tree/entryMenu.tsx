import {
  ClipboardCopy,
  Download,
  FilePlus2,
  FolderPlus,
  PencilLine,
  Trash2,
  Upload,
} from "lucide-react";
import { fileUrl } from "@/api/client";
import type { TreeEntry } from "@/gen/api";
import { ROOT_FOLDER } from "@/session/contract";
import { chooseAndUpload, download, remove, startDraft } from "@/features/files/actions";
import type { Workspace } from "@/features/workspace/workspace";
import { t } from "@/strings/en";
import { copyOrSay } from "@/ui/copy";
import type { MenuItem } from "@/ui/menu";

/** The menu of the empty part of the tree. */
export function treeMenu(ws: Workspace, blocked: string | undefined): MenuItem[] {
  return [
    {
      label: t.tree.newFile,
      icon: <FilePlus2 size={14} />,
      blocked,
      onSelect: () => startDraft(ws, "file", ROOT_FOLDER),
    },
    {
      label: t.tree.newFolder,
      icon: <FolderPlus size={14} />,
      blocked,
      onSelect: () => startDraft(ws, "folder", ROOT_FOLDER),
    },
    {
      label: t.tree.upload,
      icon: <Upload size={14} />,
      blocked,
      onSelect: () => void chooseAndUpload(ws, ""),
    },
  ];
}

interface Target {
  entry: TreeEntry;
  path: string;
  /** Everything the action applies to: the selection, when the entry is in it. */
  paths: string[];
}

/** The menu of one file or folder. */
export function entryMenu(
  ws: Workspace,
  { entry, path, paths }: Target,
  blocked: string | undefined,
): MenuItem[] {
  const folder: MenuItem[] =
    entry.kind === "folder"
      ? [
          {
            label: t.tree.newFileIn,
            icon: <FilePlus2 size={14} />,
            blocked,
            onSelect: () => startDraft(ws, "file", entry.id),
          },
          {
            label: t.tree.newFolderIn,
            icon: <FolderPlus size={14} />,
            blocked,
            onSelect: () => startDraft(ws, "folder", entry.id),
          },
          {
            label: t.tree.uploadHere,
            icon: <Upload size={14} />,
            blocked,
            onSelect: () => void chooseAndUpload(ws, path),
          },
          { kind: "separator" },
        ]
      : [];
  const save: MenuItem[] =
    entry.kind === "file"
      ? [
          {
            label: t.tree.download,
            icon: <Download size={14} />,
            onSelect: () => download(fileUrl(ws.repl, path)),
          },
        ]
      : [];
  return [
    ...folder,
    {
      label: t.tree.rename,
      icon: <PencilLine size={14} />,
      keys: "F2",
      blocked,
      onSelect: () => ws.treeUi.setState({ renaming: entry.id, draft: null }),
    },
    ...save,
    {
      label: t.tree.copyPath,
      icon: <ClipboardCopy size={14} />,
      onSelect: () => void copyOrSay(path, t.copyFailed),
    },
    { kind: "separator" },
    {
      label: t.tree.delete,
      icon: <Trash2 size={14} />,
      keys: "Delete",
      danger: true,
      blocked,
      onSelect: () => void remove(ws, paths),
    },
  ];
}
