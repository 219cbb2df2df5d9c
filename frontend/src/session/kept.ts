/**
 * Edits that are not yet in the blob store, kept in this browser (IndexedDB) until they are,
 * with a snapshot of their document so that they can be shown and merged after a reload or a
 * crash. Entries belong to a document's history, not to a tab: Yjs ids make sending one twice
 * harmless, so any tab may send what it finds, and whoever learns that an entry is stored may
 * delete it.
 */
import type { RescuedText } from "./model";

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
  load(repl: string, guid: string): Promise<KeptCopy[]>;
  /** Documents of a repl with kept updates. */
  list(repl: string): Promise<{ guid: string; path: string }[]>;
  add(key: HistoryKey, update: KeptUpdate): void;
  remove(ids: string[]): void;
  saveState(key: HistoryKey, path: string, state: Uint8Array): void;
  /** Forgets a history's snapshot unless some tab still has updates on it. */
  dropStateWhenClean(key: HistoryKey): void;
  addRescued(repl: string, text: RescuedText): void;
  listRescued(repl: string): Promise<RescuedText[]>;
  removeRescued(id: string): void;
}

/** A unique id; `crypto.randomUUID` does not exist on plain http. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) =>
    word.toString(36).padStart(7, "0"),
  ).join("");
}

interface UpdateRow extends HistoryKey, KeptUpdate {}
interface StateRow extends HistoryKey {
  path: string;
  state: Uint8Array;
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

/** All strings of one repl sort between these. */
const within = (...prefix: string[]) => IDBKeyRange.bound(prefix, [...prefix, []]);

export class BrowserKeptStore implements KeptStore {
  private readonly database: Promise<IDBDatabase | null>;
  private failed = false;
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

  async load(repl: string, guid: string): Promise<KeptCopy[]> {
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
    for (const { generation, id, update, edits, at } of updates) {
      let copy = copies.get(generation);
      if (!copy)
        copies.set(generation, (copy = { generation, path: "", state: null, updates: [] }));
      copy.updates.push({ id, update, edits, at });
    }
    return [...copies.values()].sort((a, b) => a.generation - b.generation);
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
    const row: UpdateRow = { ...key, ...update };
    this.write([UPDATES], (transaction) => transaction.objectStore(UPDATES).put(row));
  }

  remove(ids: string[]): void {
    if (ids.length === 0) return;
    this.write([UPDATES], (transaction) => {
      for (const id of ids) transaction.objectStore(UPDATES).delete(id);
    });
  }

  saveState({ repl, guid, generation }: HistoryKey, path: string, state: Uint8Array): void {
    const row: StateRow = { repl, guid, generation, path, state };
    this.write([STATES], (transaction) => transaction.objectStore(STATES).put(row));
  }

  dropStateWhenClean({ repl, guid, generation }: HistoryKey): void {
    this.write([UPDATES, STATES], (transaction) => {
      const states = transaction.objectStore(STATES);
      const rows = transaction
        .objectStore(UPDATES)
        .index("document")
        .getAll(IDBKeyRange.only([repl, guid]));
      rows.onsuccess = () => {
        const inUse = (rows.result as UpdateRow[]).some((row) => row.generation === generation);
        if (!inUse) states.delete([repl, guid, generation]);
      };
    });
  }

  addRescued(repl: string, text: RescuedText): void {
    const row: RescuedRow = { ...text, repl };
    this.write([RESCUED], (transaction) => transaction.objectStore(RESCUED).put(row));
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
