/** A kept store in memory, shared by pages as IndexedDB is; a crashed page's handle is dead. */
import type { HistoryKey, KeptCopy, KeptStore, KeptUpdate } from "./kept";
import type { RescuedText } from "./model";

interface State extends HistoryKey {
  path: string;
  state: Uint8Array;
}

export class SharedMemory {
  updates: (HistoryKey & KeptUpdate)[] = [];
  states: State[] = [];
  rescued: RescuedText[] = [];
}

export class MemoryKeptStore implements KeptStore {
  readonly working = true;
  dead = false;
  private readonly memory: SharedMemory;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  load(_repl: string, guid: string): Promise<KeptCopy[]> {
    const copies = new Map<number, KeptCopy>();
    const copy = (generation: number) => {
      let found = copies.get(generation);
      if (!found) {
        found = { generation, path: "", state: null, updates: [] };
        copies.set(generation, found);
      }
      return found;
    };
    for (const row of this.memory.states) {
      if (row.guid === guid) copy(row.generation).state = row.state;
    }
    for (const row of this.memory.updates) {
      if (row.guid === guid) copy(row.generation).updates.push(row);
    }
    return Promise.resolve([...copies.values()].sort((a, b) => a.generation - b.generation));
  }

  list(): Promise<{ guid: string; path: string }[]> {
    return Promise.resolve(this.memory.updates.map(({ guid }) => ({ guid, path: "" })));
  }

  add(key: HistoryKey, update: KeptUpdate): void {
    if (!this.dead) this.memory.updates.push({ ...key, ...update });
  }

  remove(ids: string[]): void {
    if (this.dead) return;
    this.memory.updates = this.memory.updates.filter(({ id }) => !ids.includes(id));
  }

  saveState(key: HistoryKey, path: string, state: Uint8Array): void {
    if (this.dead) return;
    this.memory.states = this.memory.states.filter((row) => row.generation !== key.generation);
    this.memory.states.push({ ...key, path, state });
  }

  dropStateWhenClean({ generation }: HistoryKey): void {
    if (this.dead || this.memory.updates.some((row) => row.generation === generation)) return;
    this.memory.states = this.memory.states.filter((row) => row.generation !== generation);
  }

  addRescued(_repl: string, text: RescuedText): void {
    if (!this.dead) this.memory.rescued.push(text);
  }

  listRescued(): Promise<RescuedText[]> {
    return Promise.resolve(this.memory.rescued);
  }

  removeRescued(id: string): void {
    if (!this.dead) this.memory.rescued = this.memory.rescued.filter((text) => text.id !== id);
  }
}
