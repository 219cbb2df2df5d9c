/**
 * Edits that are not yet in the blob store, kept in this browser (IndexedDB) until they are,
 * with a snapshot of their document so that they can be shown and merged after a reload or a
 * crash. Entries belong to a document's history, not to a tab: Yjs ids make sending one twice
 * harmless, so any tab may send what it finds, and whoever learns that an entry is stored may
 * delete it.
 */
import * as Y from "yjs";
import type { RescuedText } from "./model";
import { Tab } from "./tab";

/** Names one history of one document. */
export interface HistoryKey {
  repl: string;
  guid: string;
  generation: number;
}

export interface KeptUpdate {
  id: string;
  update: Uint8Array;
  /** Transactions inside; for people. */
  edits: number;
  /** When the oldest was made, milliseconds since the epoch. */
  at: number;
}

/** Everything kept of one history. */
export interface KeptCopy {
  generation: number;
  path: string;
  /** The whole document at some moment; null when only updates were kept in time. */
  state: Uint8Array | null;
  updates: KeptUpdate[];
}

export interface KeptStore {
  /** False when the browser refuses to keep anything. */
  readonly working: boolean;
  /** The copy that was typed into last comes last. */
  load(repl: string, guid: string): Promise<KeptCopy[]>;
  /** The same, with only the updates of tabs that are gone. */
  loadLeft(repl: string, guid: string): Promise<KeptCopy[]>;
  /** Documents of a repl with kept updates. */
  list(repl: string): Promise<{ guid: string; path: string }[]>;
  add(key: HistoryKey, update: KeptUpdate): void;
  remove(ids: string[]): void;
  /** Puts one update in the place of those it was merged from. */
  replace(key: HistoryKey, merged: KeptUpdate, instead: readonly string[]): void;
  /** Keeps a history's snapshot, together with what another tab's snapshot holds. */
  saveState(key: HistoryKey, path: string, state: Uint8Array): void;
  /** This tab needs a history's snapshot no more; it goes unless others may need it. */
  dropStateWhenClean(key: HistoryKey): void;
  /** Forgets snapshots that only tabs which are gone have left. */
  dropCleanStates(repl: string): void;
  /** Keeps a text in the place of the updates it was made of: both or nothing happens. */
  addRescued(repl: string, text: RescuedText, instead: readonly string[]): void;
  listRescued(repl: string): Promise<RescuedText[]>;
  removeRescued(id: string): void;
  /** This tab needs it no more: what it leaves is anybody's. */
  close(): void;
}

interface UpdateRow extends HistoryKey, KeptUpdate {
  /** Which tab wrote it; absent from older pages. */
  tab?: string;
}
interface StateRow extends HistoryKey {
  path: string;
  state: Uint8Array;
  /** The tabs whose snapshots are in it, and when they wrote them; absent from older pages. */
  tabs?: Record<string, number>;
}
interface RescuedRow extends RescuedText {
  repl: string;
}

const UPDATES = "updates";
const STATES = "states";
const RESCUED = "rescued";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("tandem", 1);
    request.onupgradeneeded = () => {
      const database = request.result;
      database
        .createObjectStore(UPDATES, { keyPath: "id" })
        .createIndex("document", ["repl", "guid"]);
      database.createObjectStore(STATES, { keyPath: ["repl", "guid", "generation"] });
      database.createObjectStore(RESCUED, { keyPath: "id" }).createIndex("repl", "repl");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("no local storage"));
    request.onblocked = () => reject(new Error("local storage is blocked by another tab"));
  });
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("local storage failed"));
  });
}

function lastTyped({ updates }: KeptCopy): number {
  return updates.reduce((last, { at }) => Math.max(last, at), 0);
}

const historyOf = ({ guid, generation }: HistoryKey) => `${guid} ${generation}`;

/** All strings of one repl sort between these. */
const within = (...prefix: string[]) => IDBKeyRange.bound(prefix, [...prefix, []]);

export class BrowserKeptStore implements KeptStore {
  private readonly database: Promise<IDBDatabase | null>;
  private failed = false;
  private readonly tab = new Tab();
  private readonly onFailure: () => void;

  constructor(onFailure: () => void = () => undefined) {
    this.onFailure = onFailure;
    this.database =
      typeof indexedDB === "undefined"
        ? Promise.resolve(null)
        : open().then(
            (database) => {
              // Another tab with a newer page wants to change the layout: let it.
              database.onversionchange = () => database.close();
              return database;
            },
            () => null,
          );
    void this.database.then((database) => {
      if (database === null) this.fail();
    });
  }

  get working(): boolean {
    return !this.failed;
  }

  load(repl: string, guid: string): Promise<KeptCopy[]> {
    return this.loadSome(repl, guid, () => true);
  }

  async loadLeft(repl: string, guid: string): Promise<KeptCopy[]> {
    const lives = await this.tab.whoLives();
    return this.loadSome(repl, guid, ({ tab, at }) => !lives(tab, at));
  }

  private async loadSome(
    repl: string,
    guid: string,
    wanted: (row: UpdateRow) => boolean,
  ): Promise<KeptCopy[]> {
    const rows = await this.read([UPDATES, STATES], (transaction) =>
      Promise.all([
        result<UpdateRow[]>(
          transaction
            .objectStore(UPDATES)
            .index("document")
            .getAll(IDBKeyRange.only([repl, guid])),
        ),
        result<StateRow[]>(transaction.objectStore(STATES).getAll(within(repl, guid))),
      ]),
    );
    if (rows === null) return [];
    const [updates, states] = rows;
    const copies = new Map<number, KeptCopy>();
    for (const { generation, path, state } of states) {
      copies.set(generation, { generation, path, state, updates: [] });
    }
    for (const { generation, id, update, edits, at } of updates.filter(wanted)) {
      let copy = copies.get(generation);
      if (!copy)
        copies.set(generation, (copy = { generation, path: "", state: null, updates: [] }));
      copy.updates.push({ id, update, edits, at });
    }
    return [...copies.values()]
      .filter((copy) => copy.updates.length > 0)
      .sort((a, b) => lastTyped(a) - lastTyped(b));
  }

  async list(repl: string): Promise<{ guid: string; path: string }[]> {
    const rows = await this.read([UPDATES, STATES], (transaction) =>
      Promise.all([
        result(transaction.objectStore(UPDATES).index("document").getAll(within(repl))),
        result<StateRow[]>(transaction.objectStore(STATES).getAll(within(repl))),
      ]),
    );
    if (rows === null) return [];
    const paths = new Map<string, string>();
    for (const row of rows[0] as UpdateRow[]) paths.set(row.guid, "");
    for (const row of rows[1]) if (paths.has(row.guid)) paths.set(row.guid, row.path);
    return [...paths].map(([guid, path]) => ({ guid, path }));
  }

  add(key: HistoryKey, update: KeptUpdate): void {
    const row: UpdateRow = { ...key, ...update, tab: this.tab.id };
    this.write([UPDATES], (transaction) => transaction.objectStore(UPDATES).put(row));
  }

  remove(ids: string[]): void {
    if (ids.length === 0) return;
    this.write([UPDATES], (transaction) => {
      for (const id of ids) transaction.objectStore(UPDATES).delete(id);
    });
  }

  replace(key: HistoryKey, merged: KeptUpdate, instead: readonly string[]): void {
    const row: UpdateRow = { ...key, ...merged, tab: this.tab.id };
    // Over both stores: not before a snapshot that was saved just now.
    this.write([UPDATES, STATES], (transaction) => {
      const updates = transaction.objectStore(UPDATES);
      updates.put(row);
      for (const id of instead) updates.delete(id);
    });
  }

  saveState({ repl, guid, generation }: HistoryKey, path: string, state: Uint8Array): void {
    this.write([STATES], (transaction) => {
      const states = transaction.objectStore(STATES);
      const before = states.get([repl, guid, generation]);
      before.onsuccess = () => {
        const other = before.result as StateRow | undefined;
        const tabs = { ...other?.tabs, [this.tab.id]: Date.now() };
        const alone = other === undefined || Object.keys(tabs).length === 1;
        // What another tab kept may build on what only its snapshot holds.
        const both = alone ? state : Y.mergeUpdates([other.state, state]);
        const row: StateRow = { repl, guid, generation, path, state: both, tabs };
        states.put(row);
      };
    });
  }

  dropStateWhenClean({ repl, guid, generation }: HistoryKey): void {
    void this.dropStates(repl, IDBKeyRange.only([repl, guid, generation]), true);
  }

  dropCleanStates(repl: string): void {
    void this.dropStates(repl, within(repl), false);
  }

  /** Drops snapshots that neither an update nor what a living tab types next builds on. */
  private async dropStates(repl: string, range: IDBKeyRange, doneHere: boolean): Promise<void> {
    const asked = Date.now();
    const lives = await this.tab.whoLives();
    this.write([UPDATES, STATES], (transaction) => {
      const states = transaction.objectStore(STATES);
      const updates = transaction.objectStore(UPDATES).index("document").getAll(within(repl));
      const rows = states.getAll(range);
      rows.onsuccess = () => {
        const inUse = new Set((updates.result as UpdateRow[]).map(historyOf));
        for (const row of rows.result as StateRow[]) {
          const tabs = Object.entries(row.tabs ?? {}).filter(([tab, at]) =>
            tab === this.tab.id
              ? !doneHere || at > asked
              : inUse.has(historyOf(row)) || lives(tab, at),
          );
          if (tabs.length === 0 && !inUse.has(historyOf(row))) {
            states.delete([row.repl, row.guid, row.generation]);
          } else states.put({ ...row, tabs: Object.fromEntries(tabs) });
        }
      };
    });
  }

  addRescued(repl: string, text: RescuedText, instead: readonly string[]): void {
    const row: RescuedRow = { ...text, repl };
    this.write([RESCUED, UPDATES], (transaction) => {
      transaction.objectStore(RESCUED).put(row);
      for (const id of instead) transaction.objectStore(UPDATES).delete(id);
    });
  }

  async listRescued(repl: string): Promise<RescuedText[]> {
    const rows = await this.read([RESCUED], (transaction) =>
      result<RescuedRow[]>(transaction.objectStore(RESCUED).index("repl").getAll(repl)),
    );
    return (rows ?? [])
      .map(({ id, path, text, at, reason }) => ({ id, path, text, at, reason }))
      .sort((a, b) => a.at - b.at);
  }

  removeRescued(id: string): void {
    this.write([RESCUED], (transaction) => transaction.objectStore(RESCUED).delete(id));
  }

  close(): void {
    this.tab.end();
  }

  /** Resolves when everything written so far is in. */
  async settled(): Promise<void> {
    await this.read([UPDATES, STATES, RESCUED], (transaction) =>
      result(transaction.objectStore(UPDATES).count()),
    );
  }

  private async read<T>(
    stores: string[],
    work: (transaction: IDBTransaction) => Promise<T>,
  ): Promise<T | null> {
    const database = await this.database;
    if (database === null) return null;
    try {
      return await work(database.transaction(stores, "readonly"));
    } catch {
      this.fail();
      return null;
    }
  }

  private write(stores: string[], work: (transaction: IDBTransaction) => unknown): void {
    void this.database.then((database) => {
      if (database === null) return;
      try {
        // "relaxed": the queue guards against closed tabs and crashed browsers; against a power
        // cut in the milliseconds before the server's fsync an fsync per keystroke is too dear.
        const transaction = database.transaction(stores, "readwrite", { durability: "relaxed" });
        transaction.onabort = () => this.fail();
        work(transaction);
      } catch {
        this.fail();
      }
    });
  }

  private fail(): void {
    if (this.failed) return;
    this.failed = true;
    this.onFailure();
  }
}
