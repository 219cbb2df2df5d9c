/** Files dropped onto the page, folders walked through. */
import type { Upload } from "./actions";

const MAX_FILES = 2000;

/** Reads what was dropped. Call at once in the drop event: the list is emptied after it. */
export function droppedFiles(transfer: DataTransfer): Promise<Upload[]> {
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  return walk(entries);
}

async function walk(roots: FileSystemEntry[]): Promise<Upload[]> {
  const found: Upload[] = [];
  const queue = [...roots];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (found.length >= MAX_FILES) break;
    if (next.isFile) {
      const file = await fileOf(next as FileSystemFileEntry);
      found.push({ path: next.fullPath.replace(/^\//, ""), file });
    } else if (next.isDirectory) {
      queue.push(...(await listOf((next as FileSystemDirectoryEntry).createReader())));
    }
  }
  return found;
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** A reader answers in parts; an empty part is the end. */
async function listOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  const all: FileSystemEntry[] = [];
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (part.length === 0) return all;
    all.push(...part);
  }
}
