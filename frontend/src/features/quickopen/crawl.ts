/** Every file of a repl, read folder by folder; ignored folders are left out. */
import { getTree } from "@/api/client";
import type { ReplId } from "@/gen/api";

const MAX_FOLDERS = 500;
const AT_ONCE = 4;

export async function allFiles(repl: ReplId, signal: AbortSignal): Promise<string[]> {
  const files: string[] = [];
  let folders = [""];
  let visited = 0;
  while (folders.length > 0 && visited < MAX_FOLDERS) {
    const batch = folders.slice(0, AT_ONCE);
    folders = folders.slice(AT_ONCE);
    visited += batch.length;
    const lists = await Promise.all(batch.map((dir) => getTree(repl, dir, signal)));
    for (const { path, entries } of lists) {
      for (const { name, kind, ignored } of entries) {
        const inner = path === "" ? name : `${path}/${name}`;
        if (kind === "folder" && !ignored && name !== ".git") folders.push(inner);
        if (kind === "file") files.push(inner);
      }
    }
  }
  return files;
}
