/**
 * A document that only the server writes (`#live`, `#dir/…`): one Y.Map of plain values, read
 * through the same handshake as texts. Every connection starts with an empty copy; what was
 * last shown stays readable until the new one is complete.
 */
import * as Y from "yjs";
import type { Message } from "@/wire/codec";
import { type Channel, REMOTE, type Send } from "./channel";

export interface SharedMapOptions {
  /** Name of the Y.Map. */
  root: string;
  send: Send;
  /** Keys that changed; all of them after a new copy. Values are read with `get`. */
  onChange: (keys: ReadonlySet<string>) => void;
  /** Whether what is shown is complete: false from a lost connection until caught up again. */
  onSynced: (synced: boolean) => void;
  onClosed: (code: number) => void;
  /** Awareness messages, for the one shared document that carries people's whereabouts. */
  onAwareness?: (update: Uint8Array) => void;
}

export class SharedMap implements Channel {
  private readonly options: SharedMapOptions;
  private doc: Y.Doc;
  private map: Y.Map<unknown>;
  private guid = "";
  private generation = 0;
  private online = false;
  private synced = false;
  private values = new Map<string, unknown>();

  constructor(options: SharedMapOptions) {
    this.options = options;
    this.doc = new Y.Doc();
    this.map = this.doc.getMap(options.root);
  }

  get(key: string): unknown {
    return this.values.get(key);
  }

  keys(): Iterable<string> {
    return this.values.keys();
  }

  connected(): void {
    this.online = true;
    // Small, and the server may have rebuilt it: nothing of the old copy is worth asking for.
    this.replaceCopy();
    this.identify();
  }

  disconnected(): void {
    this.online = false;
    this.setSynced(false);
  }

  receive(message: Message): void {
    switch (message.type) {
      case "identity":
        return this.onIdentity(message.guid, message.generation);
      case "step2":
      case "update":
        return this.onUpdate(message.update, message.type === "step2");
      case "awareness":
        this.options.onAwareness?.(message.update);
        return;
      case "reset":
        this.replaceCopy();
        if (this.online) this.identify();
        return;
      case "closed":
        if (message.code !== 0) this.options.onClosed(message.code);
        return;
      default:
        // step1: there is nothing of ours to send.
        return;
    }
  }

  dispose(): void {
    this.options.send({ type: "closed", code: 0 });
    this.doc.destroy();
  }

  private identify(): void {
    const { guid, generation } = this;
    this.options.send({ type: "identity", guid, generation, path: "" });
  }

  private onIdentity(guid: string, generation: number): void {
    if (guid !== this.guid || generation !== this.generation) this.replaceCopy();
    this.guid = guid;
    this.generation = generation;
    const stateVector = Y.encodeStateVector(this.doc);
    this.options.send({ type: "step1", stateVector });
  }

  private replaceCopy(): void {
    this.doc.destroy();
    this.doc = new Y.Doc();
    this.map = this.doc.getMap(this.options.root);
    this.guid = "";
    this.generation = 0;
    this.setSynced(false);
  }

  private onUpdate(update: Uint8Array, complete: boolean): void {
    const changed = new Set<string>();
    const note = (event: Y.YMapEvent<unknown>) => {
      for (const key of event.keysChanged) changed.add(key as string);
    };
    this.map.observe(note);
    try {
      Y.applyUpdate(this.doc, update, REMOTE);
    } catch {
      this.replaceCopy();
      if (this.online) this.identify();
      return;
    } finally {
      this.map.unobserve(note);
    }
    const first = complete && !this.synced;
    if (!this.synced && !first) return;
    this.read(first ? null : changed);
    if (first) this.setSynced(true);
  }

  private read(changed: ReadonlySet<string> | null): void {
    const keys = changed ?? new Set([...this.values.keys(), ...this.map.keys()]);
    if (keys.size === 0) return;
    for (const key of keys) {
      const value = this.map.get(key);
      if (value === undefined) this.values.delete(key);
      else
        this.values.set(key, value instanceof Y.AbstractType ? (value.toJSON() as unknown) : value);
    }
    this.options.onChange(keys);
  }

  private setSynced(synced: boolean): void {
    if (this.synced === synced) return;
    this.synced = synced;
    this.options.onSynced(synced);
  }
}
