/**
 * The folders that are in view: which are expanded, and what each holds. Only expanded folders,
 * and those above files that are open elsewhere, are subscribed to. Knows every path it has seen, so that ids and paths can be exchanged.
 */
import type { FileId, TreeEntry } from "@/gen/api";
import { ROOT_FOLDER, type OpenFolder, type ReplPage } from "@/session/contract";
import type { FolderSnapshot, Observable } from "@/session/model";

export interface TreeSnapshot {
  folders: ReadonlyMap<FileId, FolderSnapshot>;
  expanded: ReadonlySet<FileId>;
  /** Paths of everything below known folders. */
  paths: ReadonlyMap<FileId, string>;
}

interface Held {
  folder: OpenFolder;
  stop: () => void;
}

const NO_FOLDERS: TreeSnapshot = { folders: new Map(), expanded: new Set(), paths: new Map() };

/** The entries of a folder's snapshot, if it has any. */
export function entriesOf(snapshot: FolderSnapshot | undefined): readonly TreeEntry[] | null {
  return snapshot?.state === "ready" || snapshot?.state === "stale" ? snapshot.entries : null;
}

export class FolderTree implements Observable<TreeSnapshot> {
  readonly #page: Pick<ReplPage, "openFolder">;
  readonly #held = new Map<FileId, Held>();
  readonly #listeners = new Set<() => void>();
  #expanded: Set<FileId>;
  /** Paths of folders above open files, and the ids they were found to have. */
  #above: ReadonlySet<string> = new Set();
  #watched = new Set<FileId>();
  #snapshot = NO_FOLDERS;
  #closed = false;

  constructor(page: Pick<ReplPage, "openFolder">, expanded: Iterable<FileId> = []) {
    this.#page = page;
    this.#expanded = new Set([ROOT_FOLDER, ...expanded]);
    this.#refresh();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getSnapshot = (): TreeSnapshot => this.#snapshot;

  expand(folder: FileId): void {
    if (this.#expanded.has(folder)) return;
    this.#expanded = new Set(this.#expanded).add(folder);
    this.#refresh();
  }

  collapse(folder: FileId): void {
    if (folder === ROOT_FOLDER || !this.#expanded.has(folder)) return;
    this.#expanded = new Set([...this.#expanded].filter((id) => id !== folder));
    this.#refresh();
  }

  toggle(folder: FileId): void {
    if (this.#expanded.has(folder)) this.collapse(folder);
    else this.expand(folder);
  }

  collapseAll(): void {
    this.#expanded = new Set([ROOT_FOLDER]);
    this.#refresh();
  }

  /** Keeps an eye on the folders above these files, so that their renames are seen. */
  watch(files: Iterable<string>): void {
    const above = new Set<string>();
    for (const file of files) {
      for (let at = file.indexOf("/"); at >= 0; at = file.indexOf("/", at + 1)) {
        above.add(file.slice(0, at));
      }
    }
    if (above.size === this.#above.size && [...above].every((path) => this.#above.has(path)))
      return;
    this.#above = above;
    this.#watched = new Set();
    this.#refresh();
  }

  /** The entry at a path, when its folder is in view. */
  find(path: string): TreeEntry | null {
    const parts = path.split("/");
    let folder: FileId = ROOT_FOLDER;
    for (const [depth, name] of parts.entries()) {
      const entry = entriesOf(this.#snapshot.folders.get(folder))?.find((one) => one.name === name);
      if (entry === undefined) return null;
      if (depth === parts.length - 1) return entry;
      folder = entry.id;
    }
    return null;
  }

  /** Expands the folders above a path and answers its entry; null when it does not come. */
  async reveal(path: string, limitMs: number): Promise<TreeEntry | null> {
    const parts = path.split("/");
    const end = Date.now() + limitMs;
    for (let depth = 1; depth < parts.length; depth += 1) {
      const folder = await this.#whenKnown(parts.slice(0, depth).join("/"), end - Date.now());
      if (folder?.kind !== "folder") return null;
      this.expand(folder.id);
    }
    return this.#whenKnown(path, end - Date.now());
  }

  close(): void {
    this.#closed = true;
    for (const { folder, stop } of this.#held.values()) {
      stop();
      folder.release();
    }
    this.#held.clear();
    this.#listeners.clear();
  }

  #whenKnown(path: string, limitMs: number): Promise<TreeEntry | null> {
    const now = this.find(path);
    if (now !== null || limitMs <= 0) return Promise.resolve(now);
    return new Promise((resolve) => {
      const finish = (entry: TreeEntry | null) => {
        clearTimeout(timer);
        stop();
        resolve(entry);
      };
      const timer = setTimeout(() => finish(null), limitMs);
      const stop = this.subscribe(() => {
        const entry = this.find(path);
        if (entry !== null) finish(entry);
      });
    });
  }

  /** Subscribes to what is in view and no more, and makes the next snapshot. */
  #refresh(): void {
    if (this.#closed) return;
    const paths = new Map<FileId, string>();
    const folders = new Map<FileId, FolderSnapshot>();
    const visit = (id: FileId, path: string) => {
      const snapshot = this.#hold(id).getSnapshot();
      folders.set(id, snapshot);
      for (const entry of entriesOf(snapshot) ?? []) {
        const inner = path === "" ? entry.name : `${path}/${entry.name}`;
        paths.set(entry.id, inner);
        if (entry.kind !== "folder") continue;
        // By id from then on: a renamed folder is still the one above the file.
        if (this.#above.has(inner)) this.#watched.add(entry.id);
        if (this.#expanded.has(entry.id) || this.#watched.has(entry.id)) visit(entry.id, inner);
      }
    };
    visit(ROOT_FOLDER, "");
    for (const [id, { folder, stop }] of this.#held) {
      if (folders.has(id)) continue;
      stop();
      folder.release();
      this.#held.delete(id);
    }
    this.#snapshot = { folders, expanded: this.#expanded, paths };
    for (const listener of [...this.#listeners]) listener();
  }

  #hold(id: FileId): OpenFolder {
    const held = this.#held.get(id);
    if (held !== undefined) return held.folder;
    const folder = this.#page.openFolder(id);
    const stop = folder.subscribe(() => this.#refresh());
    this.#held.set(id, { folder, stop });
    return folder;
  }
}
