/** A kept store in memory, shared by pages as IndexedDB is; a crashed page's handle is dead. */
import * as Y from "yjs";
import type { HistoryKey, KeptCopy, KeptStore, KeptUpdate } from "./kept";
import type { RescuedText } from "./model";

interface State extends HistoryKey {
  path: string;
  state: Uint8Array;
  tabs: Set<MemoryKeptStore>;
}

export class SharedMemory {
  updates: (HistoryKey & KeptUpdate & { by: MemoryKeptStore })[] = [];
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

  loadLeft(repl: string, guid: string): Promise<KeptCopy[]> {
    return this.load(repl, guid, ({ by }) => by.dead);
  }

  close(): void {
    this.dead = true;
  }

  load(
    _repl: string,
    guid: string,
    wanted: (row: { by: MemoryKeptStore }) => boolean = () => true,
  ): Promise<KeptCopy[]> {
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
      if (row.guid === guid && wanted(row)) copy(row.generation).updates.push(row);
    }
    const last = ({ updates }: KeptCopy) => Math.max(0, ...updates.map(({ at }) => at));
    const typed = [...copies.values()].filter(({ updates }) => updates.length > 0);
    return Promise.resolve(typed.sort((a, b) => last(a) - last(b)));
  }

  list(): Promise<{ guid: string; path: string }[]> {
    return Promise.resolve(this.memory.updates.map(({ guid }) => ({ guid, path: "" })));
  }

  add(key: HistoryKey, update: KeptUpdate): void {
    if (!this.dead) this.memory.updates.push({ ...key, ...update, by: this });
  }

  remove(ids: string[]): void {
    if (this.dead) return;
    this.memory.updates = this.memory.updates.filter(({ id }) => !ids.includes(id));
  }

  replace(key: HistoryKey, merged: KeptUpdate, instead: readonly string[]): void {
    this.add(key, merged);
    this.remove([...instead]);
  }

  saveState(key: HistoryKey, path: string, state: Uint8Array): void {
    if (this.dead) return;
    const same = (row: State) => row.generation === key.generation && row.guid === key.guid;
    const before = this.memory.states.find(same);
    const alone = [...(before?.tabs ?? [])].every((tab) => tab === this);
    const both = before && !alone ? Y.mergeUpdates([before.state, state]) : state;
    const tabs = new Set([...(before?.tabs ?? []), this]);
    this.memory.states = this.memory.states.filter((row) => !same(row));
    this.memory.states.push({ ...key, path, state: both, tabs });
  }

  dropStateWhenClean(key: HistoryKey): void {
    this.drop((row) => row.generation === key.generation, true);
  }

  dropCleanStates(): void {
    this.drop(() => true, false);
  }

  private drop(wanted: (row: State) => boolean, doneHere: boolean): void {
    if (this.dead) return;
    const inUse = new Set(this.memory.updates.map(({ generation }) => generation));
    this.memory.states = this.memory.states.filter((row) => {
      if (!wanted(row)) return true;
      const used = inUse.has(row.generation);
      const stays = (tab: MemoryKeptStore) => (tab === this ? !doneHere : used || !tab.dead);
      row.tabs = new Set([...row.tabs].filter(stays));
      return used || row.tabs.size > 0;
    });
  }

  addRescued(_repl: string, text: RescuedText, instead: readonly string[]): void {
    if (this.dead) return;
    this.memory.rescued = [...this.memory.rescued.filter(({ id }) => id !== text.id), text];
    this.remove([...instead]);
  }

  listRescued(): Promise<RescuedText[]> {
    return Promise.resolve(this.memory.rescued);
  }

  removeRescued(id: string): void {
    if (!this.dead) this.memory.rescued = this.memory.rescued.filter((text) => text.id !== id);
  }
}
