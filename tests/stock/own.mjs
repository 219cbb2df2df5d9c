// A raw client of our own socket, `tandem.v1`, in as few lines as it takes.
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import WebSocket from "ws";
import * as Y from "yjs";

const SYNC = 0;
const IDENTITY = 64;
const UPDATE = 65;
const ACK = 66;

export class OwnClient {
  doc = new Y.Doc();
  text = this.doc.getText("content");
  sent = 0;
  acked = 0;
  #synced = false;

  static open(server, repl, path) {
    const client = new OwnClient();
    client.path = path;
    client.socket = new WebSocket(
      `ws://localhost:${server.port}/api/v1/repls/${repl}/live?token=${server.token}`,
      "tandem.v1",
    );
    client.socket.binaryType = "arraybuffer";
    client.socket.on("open", () =>
      client.#send(IDENTITY, (out) => {
        encoding.writeVarString(out, "");
        encoding.writeVarUint(out, 0);
        encoding.writeVarString(out, "");
      }),
    );
    client.socket.on("message", (data) => client.#receive(new Uint8Array(data)));
    client.doc.on("update", (update, origin) => {
      if (origin !== client) client.#edit(update);
    });
    return client;
  }

  isSynced = () => this.#synced;
  destroy = () => this.socket.close();
  toString = () => this.text.toString();

  append(line) {
    this.text.insert(this.text.length, line);
  }

  #send(kind, body) {
    const out = encoding.createEncoder();
    encoding.writeVarString(out, this.path);
    encoding.writeVarUint(out, kind);
    body(out);
    this.socket.send(encoding.toUint8Array(out));
  }

  #edit(update) {
    this.sent += 1;
    this.#send(UPDATE, (out) => {
      encoding.writeVarUint(out, this.sent);
      encoding.writeVarUint8Array(out, update);
    });
  }

  #receive(frame) {
    if (frame.length === 1) {
      if (frame[0] === 9) this.socket.send(new Uint8Array([10]));
      return;
    }
    const reader = decoding.createDecoder(frame);
    decoding.readVarString(reader);
    const kind = decoding.readVarUint(reader);
    if (kind === SYNC) {
      const step = decoding.readVarUint(reader);
      const bytes = decoding.readVarUint8Array(reader);
      if (step === 0) {
        this.#send(SYNC, (out) => {
          encoding.writeVarUint(out, 0);
          encoding.writeVarUint8Array(out, Y.encodeStateVector(this.doc));
        });
      } else {
        Y.applyUpdate(this.doc, bytes, this);
        this.#synced = true;
      }
    } else if (kind === UPDATE) {
      decoding.readVarUint(reader);
      Y.applyUpdate(this.doc, decoding.readVarUint8Array(reader), this);
    } else if (kind === ACK) {
      this.acked = Math.max(this.acked, decoding.readVarUint(reader));
      this.onAck?.();
    }
  }
}
