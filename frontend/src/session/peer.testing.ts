/**
 * The other side of `tandem.v1` in memory, for tests: one document, any number of connections,
 * acknowledgements when the test says so, and refusals on demand.
 */
import * as Y from "yjs";
import { type AckLevel, decode, encode, type Message, Refusal } from "@/wire/codec";
import type { Channel } from "./channel";

interface Connection {
  channel: Channel;
  identified: boolean;
  received: number;
  acked: Record<AckLevel, number>;
  askedAfterGap: boolean;
}

export class MemoryPeer {
  doc = new Y.Doc();
  generation = 1;
  readonly guid: string;
  path = "main.py";
  /** Set to refuse the next update with NACK and RESET. */
  refuse: number | null = null;
  /** Set to answer the next update with NACK alone. */
  refuseOnly: number | null = null;
  /** Set to answer IDENTITY with CLOSED. */
  closedCode: number | null = null;
  /** How often an update built on something unknown. */
  gaps = 0;
  /** Everything received, in order, over all connections. */
  readonly log: Message[] = [];
  private stored: Uint8Array | null = null;
  private readonly connections = new Set<Connection>();
  private readonly carets = new Map<Connection, Message>();

  constructor(guid: string) {
    this.guid = guid;
  }

  get text(): string {
    return this.doc.getText("content").toString();
  }

  /** Connects a channel; returns its `send` and a way to cut it. */
  connect(channel: Channel): Connection {
    const connection = {
      channel,
      identified: false,
      received: 0,
      acked: { 1: 0, 2: 0 },
      askedAfterGap: false,
    };
    this.connections.add(connection);
    channel.connected();
    return connection;
  }

  cut(connection: Connection): void {
    this.connections.delete(connection);
    connection.channel.disconnected();
  }

  /** The `send` of a channel, over the real codec. */
  sender(connection: () => Connection | null): (message: Message) => boolean {
    return (message) => {
      const to = connection();
      if (to === null || !this.connections.has(to)) return false;
      const frame = decode(encode("#file", message));
      if (frame.type !== "message") throw new Error("not a message");
      this.receive(to, frame.message);
      return true;
    };
  }

  /** Acknowledges everything received so far on every connection. */
  acknowledge(level: AckLevel): void {
    for (const connection of this.connections) {
      if (connection.acked[level] === connection.received) continue;
      connection.acked[level] = connection.received;
      this.reply(connection, { type: "ack", seq: connection.received, level });
    }
  }

  /** Writes everything to the blob store, and says so. */
  store(): void {
    this.stored = Y.encodeStateAsUpdate(this.doc);
    this.acknowledge(1);
    this.acknowledge(2);
  }

  /** The machine is gone: all connections break, and only what was stored is left. */
  die(): void {
    for (const connection of [...this.connections]) this.cut(connection);
    this.doc = new Y.Doc();
    if (this.stored) Y.applyUpdate(this.doc, this.stored);
  }

  /** An edit by somebody else. */
  edit(change: (text: Y.Text) => void): void {
    const before = Y.encodeStateVector(this.doc);
    change(this.doc.getText("content"));
    this.broadcast(Y.encodeStateAsUpdate(this.doc, before), null);
  }

  /** Starts a new history with this text, as a restored version would. */
  restart(text: string): void {
    this.doc = new Y.Doc();
    this.doc.getText("content").insert(0, text);
    this.generation += 1;
  }

  private receive(connection: Connection, message: Message): void {
    this.log.push(message);
    switch (message.type) {
      case "identity":
        if (this.closedCode !== null) {
          this.reply(connection, { type: "closed", code: this.closedCode });
          return;
        }
        connection.identified = true;
        connection.received = 0;
        connection.acked = { 1: 0, 2: 0 };
        this.reply(connection, {
          type: "identity",
          guid: this.guid,
          generation: this.generation,
          path: this.path,
        });
        this.reply(connection, { type: "step1", stateVector: Y.encodeStateVector(this.doc) });
        return;
      case "step1":
        this.reply(connection, {
          type: "step2",
          update: Y.encodeStateAsUpdate(this.doc, message.stateVector),
        });
        return;
      case "update":
        return this.onUpdate(connection, message.seq, message.update);
      case "awareness":
        this.carets.set(connection, message);
        for (const other of this.connections) this.reply(other, message);
        return;
      case "query-awareness":
        for (const known of this.carets.values()) this.reply(connection, known);
        return;
      default:
        return;
    }
  }

  private onUpdate(connection: Connection, seq: number, update: Uint8Array): void {
    if (!connection.identified) throw new Error("update before identity");
    if (seq !== connection.received + 1) throw new Error(`seq ${seq} after ${connection.received}`);
    connection.received = seq;
    if (this.refuse !== null) {
      const code = this.refuse;
      this.refuse = null;
      return this.reject(connection, seq, code);
    }
    if (this.refuseOnly !== null) {
      this.reply(connection, { type: "nack", seq, code: this.refuseOnly });
      this.refuseOnly = null;
      return;
    }
    if (this.hasGap(update)) {
      // As the server does: ask for everything once, then refuse.
      this.gaps += 1;
      if (connection.askedAfterGap) return this.reject(connection, seq, Refusal.gap);
      connection.askedAfterGap = true;
      const stateVector = Y.encodeStateVector(this.doc);
      this.reply(connection, { type: "step1", stateVector });
      return;
    }
    connection.askedAfterGap = false;
    Y.applyUpdate(this.doc, update);
    this.broadcast(update, connection);
  }

  private reject(connection: Connection, seq: number, code: number): void {
    connection.identified = false;
    this.reply(connection, { type: "nack", seq, code });
    this.reply(connection, { type: "reset", reason: code });
  }

  private hasGap(update: Uint8Array): boolean {
    const scratch = new Y.Doc();
    Y.applyUpdate(scratch, Y.encodeStateAsUpdate(this.doc));
    Y.applyUpdate(scratch, update);
    return scratch.store.pendingStructs !== null || scratch.store.pendingDs !== null;
  }

  private broadcast(update: Uint8Array, except: Connection | null): void {
    for (const other of this.connections) {
      if (other !== except && other.identified) {
        this.reply(other, { type: "update", seq: 0, update });
      }
    }
  }

  private reply(connection: Connection, message: Message): void {
    const frame = decode(encode("#file", message));
    if (frame.type === "message") connection.channel.receive(frame.message);
  }
}
