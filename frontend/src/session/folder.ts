/** One folder's list, kept current by the server. */
import type { FileId, TreeEntry } from "@/gen/api";
import { Refusal } from "@/wire/codec";
import type { Channel, Send } from "./channel";
import type { FolderSnapshot } from "./model";
import { State } from "./observable";
import { SharedMap } from "./shared";

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Folders first, then by name as people read it; the exact name settles ties. */
export function compareEntries(a: TreeEntry, b: TreeEntry): number {
  const folders = Number(b.kind === "folder") - Number(a.kind === "folder");
  return folders || byName.compare(a.name, b.name) || (a.name < b.name ? -1 : 1);
}

export class FolderSession {
  readonly folder: FileId;
  readonly state = new State<FolderSnapshot>({ state: "loading" });
  readonly channel: Channel;
  private readonly shared: SharedMap;
  private entries: readonly TreeEntry[] = [];
  private synced = false;
  private gone = false;

  constructor(folder: FileId, send: Send, onEntries: (entries: readonly TreeEntry[]) => void) {
    this.folder = folder;
    this.shared = new SharedMap({
      root: "entries",
      send,
      onChange: () => {
        this.entries = this.read();
        onEntries(this.entries);
        if (this.synced) this.publish();
      },
      onSynced: (synced) => {
        this.synced = synced;
        if (synced) this.gone = false;
        this.publish();
      },
      onClosed: (code) => {
        this.gone = code === Refusal.notFound;
        this.publish();
      },
    });
    this.channel = this.shared;
  }

  dispose(): void {
    this.shared.dispose();
  }

  private read(): TreeEntry[] {
    const entries: TreeEntry[] = [];
    for (const name of this.shared.keys()) {
      entries.push({ ...(this.shared.get(name) as Omit<TreeEntry, "name">), name });
    }
    return entries.sort(compareEntries);
  }

  private publish(): void {
    if (this.gone) this.state.set({ state: "gone" });
    else if (this.synced) this.state.set({ state: "ready", entries: this.entries });
    else if (this.state.getSnapshot().state !== "loading") {
      this.state.set({ state: "stale", entries: this.entries });
    }
  }
}
