/**
 * Awareness of one document on the wire: sends the local state when it changed (at most every
 * 40 ms: carets move with every key), takes in the others', and forgets them when the
 * connection is lost. Renewal after 15 s and expiry after 30 s are y-protocols's own.
 */
import {
  applyAwarenessUpdate,
  Awareness,
  encodeAwarenessUpdate,
  removeAwarenessStates,
} from "y-protocols/awareness";
import type * as Y from "yjs";
import type { Me } from "@/gen/api";
import { REMOTE, type Send } from "./channel";

const INTERVAL_MS = 40;

interface Change {
  added: number[];
  updated: number[];
  removed: number[];
}

export class Carets {
  readonly awareness: Awareness;
  private readonly send: Send;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sentAt = 0;
  private online = false;

  constructor(doc: Y.Doc, me: Me, send: Send) {
    this.send = send;
    this.awareness = new Awareness(doc);
    this.introduce(me);
    this.awareness.on("update", this.onUpdate);
  }

  /** The fields that y-codemirror and its relatives read, and the member for following. */
  introduce({ member, name, colour }: Me): void {
    const user = { name, color: colour, colorLight: `${colour}40`, member };
    this.awareness.setLocalStateField("user", user);
  }

  connected(): void {
    this.online = true;
    // A step of the clock: the server took the old state for gone when the connection broke.
    this.awareness.setLocalState(this.awareness.getLocalState());
    this.announce();
    this.send({ type: "query-awareness" });
  }

  disconnected(): void {
    this.online = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    const others = [...this.awareness.getStates().keys()].filter(
      (client) => client !== this.awareness.clientID,
    );
    removeAwarenessStates(this.awareness, others, REMOTE);
  }

  receive(update: Uint8Array): void {
    applyAwarenessUpdate(this.awareness, update, REMOTE);
  }

  /** Sends now what is waiting; called right after an edit so that caret and text go together. */
  flush(): void {
    if (this.timer !== undefined) this.announce();
  }

  announce(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (!this.online || this.awareness.getLocalState() === null) return;
    this.sentAt = Date.now();
    const update = encodeAwarenessUpdate(this.awareness, [this.awareness.clientID]);
    this.send({ type: "awareness", update });
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.awareness.off("update", this.onUpdate);
    if (this.online) {
      this.awareness.setLocalState(null);
      const update = encodeAwarenessUpdate(this.awareness, [this.awareness.clientID]);
      this.send({ type: "awareness", update });
      this.online = false;
    }
    this.awareness.destroy();
  }

  private readonly onUpdate = ({ added, updated, removed }: Change) => {
    const self = this.awareness.clientID;
    // Not by origin: the server echoes our own state, and a renewal counts as local.
    if (![added, updated, removed].some((clients) => clients.includes(self))) return;
    if (this.timer !== undefined || !this.online) return;
    const wait = Math.max(0, this.sentAt + INTERVAL_MS - Date.now());
    this.timer = setTimeout(() => this.announce(), wait);
  };
}
