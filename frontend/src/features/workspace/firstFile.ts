/** Which file a repl opens with when this browser has not opened one yet. */
import type { TreeEntry } from "@/gen/api";

const MAIN = /^(main|index|app|server|hello)\.\w+$/i;

/** The best of a folder's files, or null. */
export function firstFile(entries: readonly TreeEntry[]): TreeEntry | null {
  const files = entries.filter(({ kind, text, ignored }) => kind === "file" && text && !ignored);
  const main = files.filter(({ name }) => MAIN.test(name));
  const order = ["main", "index", "app", "server", "hello"];
  const rank = ({ name }: TreeEntry) => order.indexOf(name.split(".")[0]?.toLowerCase() ?? "");
  main.sort((a, b) => rank(a) - rank(b) || extensionRank(a.name) - extensionRank(b.name));
  return main[0] ?? null;
}

/** Of `index.html`, `index.js` and `index.css` the page comes first. */
function extensionRank(name: string): number {
  if (name.endsWith(".html")) return 0;
  if (name.endsWith(".css") || name.endsWith(".h")) return 2;
  return 1;
}

/** Folders that usually hold the main file. */
export function sourceFolder(entries: readonly TreeEntry[]): TreeEntry | null {
  const folders = entries.filter(({ kind }) => kind === "folder");
  return ["src", "app", "cmd", "source"].reduce<TreeEntry | null>(
    (found, name) => found ?? folders.find((folder) => folder.name === name) ?? null,
    null,
  );
}

/** A readme, when there is nothing better. */
export function readme(entries: readonly TreeEntry[]): TreeEntry | null {
  return entries.find(({ name, kind }) => kind === "file" && /^readme/i.test(name)) ?? null;
}
