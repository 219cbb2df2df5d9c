import {
  File,
  FileArchive,
  FileBraces,
  FileCode,
  FileCog,
  FileImage,
  FileText,
  Folder,
  FolderOpen,
  Link2,
  type LucideIcon,
} from "lucide-react";
import type { CSSProperties } from "react";
import type { TreeKind } from "@/gen/api";
import { fileLook, type FileKind } from "./languages";
import styles from "./FileIcon.module.css";

const icons: Record<FileKind, LucideIcon> = {
  code: FileCode,
  data: FileBraces,
  text: FileText,
  image: FileImage,
  archive: FileArchive,
  config: FileCog,
  plain: File,
};

interface FileIconProps {
  name: string;
  kind?: TreeKind;
  open?: boolean;
  size?: number;
}

/** The icon of a file or folder in lists. */
export function FileIcon({ name, kind = "file", open = false, size = 15 }: FileIconProps) {
  if (kind === "folder") {
    const Icon = open ? FolderOpen : Folder;
    return <Icon size={size} strokeWidth={1.75} className={styles.folder} aria-hidden />;
  }
  if (kind === "symlink") return <Link2 size={size} className={styles.plain} aria-hidden />;
  const look = fileLook(name);
  const Icon = icons[look.kind];
  const style = look.hue === null ? undefined : ({ "--hue": look.hue } as CSSProperties);
  return (
    <Icon
      size={size}
      strokeWidth={1.75}
      className={look.hue === null ? styles.plain : styles.code}
      style={style}
      aria-hidden
    />
  );
}
