/**
 * One text document: the handshake, edits out and in, acknowledgements, and what happens when
 * the server does not take something. The copy of the text (a {@link Replica}) belongs to one
 * history (guid, generation); when the server has another one, or refused an edit, the copy is
 * dropped for a fresh one under a new Yjs client id, and what only the old one held is rescued
 * as plain text: never silently lost, never mixed into the wrong history.
 */
import * as Y from "yjs";
import type { FileId, Me } from "@/gen/api";
import { type Message, Refusal } from "@/wire/codec";
import { Batch } from "./batch";
import { type Channel, REMOTE, type Send } from "./channel";
import { applyKept, type Copy, newCopy } from "./copy";
import type { KeptCopy, KeptStore } from "./kept";
import type { DocumentSnapshot, Durability, RescuedText } from "./model";
import { State } from "./observable";
import { Outbox } from "./outbox";
import { readableText, Rescue } from "./rescue";
import { reasonOf } from "./unavailable";

const RETRY_MS = 2_000;

export interface DocumentOptions {
  repl: string;
  file: FileId;
  path: string;
  me: Me;
  readOnly: boolean;
  kept: KeptStore;
  send: Send;
  /** Something about `unsaved()` changed. */
  onDurability: () => void;
  onRescued: (text: RescuedText) => void;
}

/**
 * - `loading`: reading what this browser kept;
 * - `offline`: no connection; `identifying`: we said which history we hold;
 * - `syncing`: histories agree, the difference is on its way; `live`: complete;
 * - `unavailable`: the server has no such text.
 */
type Phase = "loading" | "offline" | "identifying" | "syncing" | "live" | "unavailable";

export class DocumentSession implements Channel {
  readonly file: FileId;
  readonly state: State<DocumentSnapshot>;
  private readonly options: DocumentOptions;
  private readonly outbox = new Outbox();
  private phase: Phase = "loading";
  private online = false;
  private copy: Copy | null = null;
  private path: string;
  private refusedCode = 0;
  /** Whether the server's step1 came on this connection: before it, nothing is sent. */
  private sending = false;
  private credit: number | null = null;
  private readonly batch = new Batch(() => this.flushBatch());
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly rescue: Rescue;
  private disposed = false;

  constructor(options: DocumentOptions) {
    this.options = options;
    this.file = options.file;
    this.path = options.path;
    this.rescue = new Rescue(options.repl, options.kept, options.onRescued);
    this.state = new State<DocumentSnapshot>({ state: "opening", path: options.path });
    void this.load();
  }

  // --- the socket's side ---

  connected(): void {
    this.online = true;
    if (this.phase === "offline" || this.phase === "unavailable") this.identify();
  }

  disconnected(): void {
    this.online = false;
    this.sending = false;
    this.credit = null;
    clearTimeout(this.retryTimer);
    this.outbox.connectionLost();
    this.copy?.carets.disconnected();
    if (this.phase === "loading") return;
    this.phase = "offline";
    this.backUp();
    this.publish();
  }

  receive(message: Message): void {
    if (this.phase === "loading" || this.disposed) return;
    switch (message.type) {
      case "identity":
        return this.onIdentity(message.guid, message.generation, message.path);
      case "step1":
        return this.sendDifference(message.stateVector);
      case "step2":
      case "update":
        return this.onUpdate(message.update, message.type === "step2");
      case "awareness":
        this.copy?.carets.receive(message.update);
        return;
      case "query-awareness":
        this.copy?.carets.announce();
        return;
      case "ack":
        return this.onAck(message.seq, message.level);
      case "nack":
        return this.onRefused(message.code);
      case "reset":
        // A refusal may be told twice (NACK, then RESET); the second finds a fresh copy.
        if (this.phase !== "identifying") this.startAgain("refused");
        return;
      case "closed":
        return this.onClosed(message.code);
      case "credit":
        this.credit = (this.credit ?? 0) + message.bytes;
        if (this.sending) this.sendUnsent();
        return;
      case "auth":
        return;
    }
  }

  // --- the page's side ---

  introduce(me: Me): void {
    this.options.me = me;
    this.copy?.carets.introduce(me);
  }

  /** The file is there (again): asks for it if it was not. */
  appeared(): void {
    if (this.phase === "unavailable" && this.online) this.identify();
  }

  /** Tells where the file is now, from its folder's list. */
  moved(path: string): void {
    if (this.path === path) return;
    this.path = path;
    this.publish();
  }

  /** The person's right changed. Edits under way at that moment are for the server to judge. */
  allowEdits(allowed: boolean): void {
    if (this.options.readOnly === !allowed) return;
    this.options.readOnly = !allowed;
    // The server's state vector was asked for under the other right: open again.
    if (this.online && this.phase !== "loading") this.identify();
    else this.publish();
  }

  /** Sends what waits for company, and keeps a snapshot if edits are under way. */
  flush(): void {
    this.flushBatch();
    this.backUp();
  }

  durability(): Durability["state"] {
    if (this.batch.edits > 0 || this.outbox.unacknowledged()) return "unsaved";
    if (!this.outbox.isEmpty) return "on-disk";
    return this.outbox.everStored ? "stored" : "idle";
  }

  /** Edits without an acknowledgement. */
  unsaved(): { edits: number; since: number } | null {
    const waiting = this.outbox.unacknowledged();
    if (this.batch.edits === 0) return waiting;
    return {
      edits: (waiting?.edits ?? 0) + this.batch.edits,
      since: Math.min(waiting?.since ?? Infinity, this.batch.oldest),
    };
  }

  /** Whether it may be let go: everything is in the blob store. */
  get isSettled(): boolean {
    return this.phase !== "loading" && this.batch.edits === 0 && this.outbox.isEmpty;
  }

  dispose(): void {
    this.flush();
    this.disposed = true;
    this.copy?.backup.cancel();
    clearTimeout(this.retryTimer);
    this.copy?.carets.destroy();
    this.copy?.doc.destroy();
    this.options.send({ type: "closed", code: 0 });
  }

  // --- opening ---

  private async load(): Promise<void> {
    const copies = await this.options.kept.load(this.options.repl, this.file);
    if (this.disposed) return;
    // Somebody who may only look by now cannot send them.
    const newest = this.options.readOnly ? undefined : copies.pop();
    const reason = this.options.readOnly ? "refused" : "replaced";
    for (const other of copies) this.rescue.takeOver(other, this.named, reason);
    if (newest) this.restore(newest);
    this.phase = "offline";
    this.options.onDurability();
    if (this.online) this.identify();
    else this.publish();
  }

  private restore(kept: KeptCopy): void {
    const copy = this.freshCopy(this.file, kept.generation);
    if (!applyKept(copy.doc, kept)) {
      // Unreadable: nothing can be shown or sent. The rows stay for a page that can read them.
      copy.carets.destroy();
      copy.doc.destroy();
      return;
    }
    this.copy = copy;
    if (kept.path !== "" && this.path === "") this.path = kept.path;
    this.outbox.adopt(kept.updates);
    copy.typed = true;
  }

  /**
   * Takes over what other tabs of this browser left behind: edits of a tab that was closed while
   * it had no connection.
   */
  async takeLeft(): Promise<void> {
    if (this.phase === "loading" || this.options.readOnly) return;
    const copies = await this.options.kept.loadLeft(this.options.repl, this.file);
    if (this.disposed) return;
    let found = false;
    for (const kept of copies) {
      const left = kept.updates.filter(({ id }) => !this.outbox.has(id));
      if (left.length === 0) continue;
      const theirs = { ...kept, updates: left };
      if (this.copy?.generation === kept.generation && applyKept(this.copy.doc, theirs)) {
        this.outbox.adopt(left);
        found = true;
      } else if (this.phase === "live" && this.copy?.generation !== kept.generation) {
        this.rescue.takeOver(theirs, this.named, "replaced");
      }
    }
    if (!found) return;
    this.options.onDurability();
    if (this.online) this.identify();
  }

  private get named() {
    return { guid: this.file, path: this.path };
  }

  private identify(): void {
    this.phase = "identifying";
    this.sending = false;
    this.options.send({
      type: "identity",
      guid: this.copy?.guid ?? "",
      generation: this.copy?.generation ?? 0,
      path: "",
    });
    this.publish();
  }

  private onIdentity(guid: string, generation: number, path: string): void {
    this.path = path || this.path;
    const copy = this.copy;
    const same = copy !== null && copy.guid === guid && copy.generation === generation;
    if (same && (this.phase === "syncing" || this.phase === "live")) return this.publish();
    if (!same) {
      if (copy) this.dropCopy("replaced");
      this.copy = this.freshCopy(guid, generation);
    }
    this.phase = "syncing";
    this.sending = false;
    this.outbox.connectionLost();
    const current = this.copy;
    if (!current) return;
    this.options.send({ type: "step1", stateVector: Y.encodeStateVector(current.doc) });
    current.carets.connected();
    this.publish();
  }

  private freshCopy(guid: string, generation: number): Copy {
    const { me, send, kept } = this.options;
    const copy = newCopy({ guid, generation, me, send, kept, key: this.key(generation) });
    copy.doc.on("update", (update: Uint8Array, origin: unknown) => {
      if (origin !== REMOTE) this.onLocalEdit(update);
    });
    return copy;
  }

  // --- edits ---

  private onLocalEdit(update: Uint8Array): void {
    if (this.options.readOnly) return;
    if (this.copy) this.copy.typed = true;
    this.batch.add(update);
    if (this.batch.edits === 1) this.durabilityChanged();
  }

  private flushBatch(): void {
    const copy = this.copy;
    const collected = copy && this.batch.take();
    if (!copy || !collected) return;
    const entry = this.outbox.add(collected.update, collected.edits, collected.since);
    const key = this.key(copy.generation);
    const { id, edits, at } = entry;
    this.options.kept.add(key, { id, edits, at, update: copy.backup.complete(entry.update) });
    if (this.sending) this.sendUnsent();
    const merged = this.outbox.compact();
    if (merged) {
      // The rows that go may hold what others wrote.
      copy.backup.save();
      this.options.kept.replace(key, merged.added, merged.removed);
    }
    copy.carets.flush();
    copy.backup.plan(this.path);
    this.durabilityChanged();
  }

  private sendUnsent(): void {
    if (this.credit !== null && this.credit <= 0) return;
    const unsent = this.outbox.unsent();
    const first = unsent[0];
    if (!first) return;
    this.sendUpdate(unsent.length === 1 ? first : Y.mergeUpdates(unsent), this.outbox.takeSeq());
  }

  private sendUpdate(update: Uint8Array, seq: number): void {
    if (this.credit !== null) this.credit -= update.length;
    this.options.send({ type: "update", seq, update });
  }

  /**
   * Answers step1 with everything the server lacks, and with everything that is not known to be
   * in the blob store even if the server has it: so that it is acknowledged on this connection.
   * One encoding from the document, because updates merged over a hole would hold a Skip.
   */
  private sendDifference(stateVector: Uint8Array): void {
    const copy = this.copy;
    if (copy === null || this.phase === "identifying" || this.options.readOnly) return;
    this.flushBatch();
    const from = Y.decodeStateVector(stateVector);
    for (const [client, clock] of this.outbox.firstClocks()) {
      from.set(client, Math.min(clock, from.get(client) ?? 0));
    }
    const update = Y.encodeStateAsUpdate(copy.doc, Y.encodeStateVector(from));
    this.sending = true;
    if (this.outbox.lacks(copy.doc, stateVector)) this.keepAgain(copy, update);
    // [0, 0] is the empty update.
    if (update.length <= 2 && this.outbox.isEmpty) return;
    this.sendUpdate(update, this.outbox.takeSeqForAll());
  }

  /** What was safe once is not any more: it waits for its acknowledgements like any edit. */
  private keepAgain(copy: Copy, update: Uint8Array): void {
    this.options.kept.add(this.key(copy.generation), this.outbox.add(update, 1, Date.now()));
    copy.backup.plan(this.path);
    this.durabilityChanged();
  }

  private onUpdate(update: Uint8Array, complete: boolean): void {
    if (this.copy === null) return;
    try {
      Y.applyUpdate(this.copy.doc, update, REMOTE);
    } catch {
      // What the server sent cannot be read into this copy: only a fresh one is trustworthy.
      this.startAgain("refused");
      return;
    }
    if (!complete || this.phase === "live") return;
    this.phase = "live";
    this.rescue.settle(this.copy.text.toString());
    this.publish();
  }

  // --- acknowledgements and refusals ---

  private onAck(seq: number, level: 1 | 2): void {
    const stored = this.outbox.acknowledge(seq, level);
    this.options.kept.remove(stored);
    if (this.outbox.isEmpty && stored.length > 0) this.copy?.backup.forget();
    this.durabilityChanged();
  }

  private onRefused(code: number): void {
    // What was under way when the copy was dropped is refused too; that is settled already.
    if (this.copy === null) return;
    if (code === Refusal.unavailable) {
      // Nothing is wrong with the edit: it is kept and offered again.
      this.retryLater();
      return;
    }
    this.startAgain("refused");
  }

  private onClosed(code: number): void {
    if (code === 0) return;
    if (code === Refusal.unavailable) {
      this.retryLater();
      return;
    }
    // Acknowledged edits of a file that is deleted before our eyes can be restored with it; of
    // one that is gone when we return, this browser may have the only copy.
    if (this.phase !== "identifying" && this.unsaved() === null) {
      this.options.kept.remove(this.outbox.clear());
      if (this.copy) this.copy.typed = false;
    }
    this.dropCopy(code === Refusal.notFound ? "deleted" : "refused");
    this.rescue.settle(null);
    this.phase = "unavailable";
    this.refusedCode = code;
    this.publish();
  }

  private retryLater(): void {
    clearTimeout(this.retryTimer);
    this.sending = false;
    this.outbox.connectionLost();
    this.retryTimer = setTimeout(() => {
      if (this.online) this.identify();
    }, RETRY_MS);
  }

  private startAgain(reason: RescuedText["reason"]): void {
    this.dropCopy(reason);
    if (this.online) this.identify();
    else this.phase = "offline";
  }

  private dropCopy(reason: RescuedText["reason"]): void {
    const copy = this.copy;
    if (copy === null) return;
    this.sending = false;
    this.flushBatch();
    const worthKeeping = copy.typed || !this.outbox.isEmpty;
    const ids = this.outbox.clear();
    if (worthKeeping) this.rescue.hold(this.path, readableText(copy.doc), reason, ids);
    else this.options.kept.remove(ids);
    copy.backup.forget();
    this.copy = null;
    copy.carets.destroy();
    copy.doc.destroy();
    this.durabilityChanged();
  }

  private backUp(): void {
    if (!this.outbox.isEmpty) this.copy?.backup.save();
  }

  private key(generation: number) {
    return { repl: this.options.repl, guid: this.file, generation };
  }

  // --- what is shown ---

  private durabilityChanged(): void {
    this.options.onDurability();
    const shown = this.state.getSnapshot();
    if (shown.state === "open" && shown.durability !== this.durability()) this.publish();
  }

  private publish(): void {
    if (this.disposed) return;
    this.state.set(this.snapshot());
  }

  private snapshot(): DocumentSnapshot {
    const { phase, copy, path } = this;
    if (phase === "unavailable") {
      return {
        state: "unavailable",
        path,
        reason: reasonOf(this.refusedCode),
        code: this.refusedCode,
      };
    }
    // A fresh copy is empty until the first exchange: an empty editor would be a lie.
    const shown = this.state.getSnapshot();
    const seen = shown.state === "open" && shown.replica === copy;
    const restored =
      copy !== null && !this.outbox.isEmpty && copy.doc.store.pendingStructs === null;
    if (copy === null || (phase !== "live" && !seen && !restored))
      return { state: "opening", path };
    return {
      state: "open",
      path,
      replica: copy,
      synced: phase === "live",
      readOnly: this.options.readOnly,
      durability: this.durability(),
    };
  }
}
