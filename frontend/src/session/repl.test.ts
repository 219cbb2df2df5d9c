// @vitest-environment jsdom
import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import type { LiveState, Me, TreeEntry } from "@/gen/api";
import { decode, encode, type Message } from "@/wire/codec";
import { FakeWebSocket } from "@/wire/websocket.testing";
import { ROOT_FOLDER } from "./contract";
import { until } from "./until.testing";
import { ReplSession } from "./repl";

const me: Me = {
  member: "m".repeat(16),
  name: "Ada",
  colour: "#aa0000",
  owner: true,
  unnamed: false,
};
const file = "f".repeat(16);
let repl = 0;
let session: ReplSession;
let room: Room;

/** A room with a live map, folders and one text, behind the socket. */
class Room {
  readonly docs = new Map<string, Y.Doc>();
  readonly received: { address: string; message: Message }[] = [];
  generation = 1;
  private socket: FakeWebSocket | null = null;

  doc(address: string): Y.Doc {
    let doc = this.docs.get(address);
    if (!doc) this.docs.set(address, (doc = new Y.Doc()));
    return doc;
  }

  set(address: string, root: string, key: string, value: unknown): void {
    const doc = this.doc(address);
    const before = Y.encodeStateVector(doc);
    doc.getMap(root).set(key, value);
    this.send(address, { type: "update", seq: 0, update: Y.encodeStateAsUpdate(doc, before) });
  }

  serve(socket: FakeWebSocket): void {
    this.socket = socket;
    socket.onSent = (frame) => {
      const decoded = decode(frame as Uint8Array);
      if (decoded.type === "message") this.receive(decoded.address, decoded.message);
    };
    socket.accept();
  }

  send(address: string, message: Message): void {
    this.socket?.deliver(encode(address, message));
  }

  private receive(address: string, message: Message): void {
    this.received.push({ address, message });
    const doc = this.doc(address);
    if (message.type === "identity") {
      const guid = address.startsWith("#dir/") ? address.slice(5) : address.slice(1);
      this.send(address, { type: "identity", guid, generation: this.generation, path: "" });
      this.send(address, { type: "step1", stateVector: Y.encodeStateVector(doc) });
    } else if (message.type === "step1") {
      const update = Y.encodeStateAsUpdate(doc, message.stateVector);
      this.send(address, { type: "step2", update });
    } else if (message.type === "update") {
      Y.applyUpdate(doc, message.update);
    }
  }
}

const entry = (id: string, kind: TreeEntry["kind"]): Omit<TreeEntry, "name"> => ({
  id,
  kind,
  size: 0,
  executable: false,
  ignored: false,
  text: true,
});

beforeEach(() => {
  repl += 1;
  vi.stubGlobal("WebSocket", FakeWebSocket);
  FakeWebSocket.opened.length = 0;
  room = new Room();
  session = new ReplSession({ repl: `repl${repl}`, me, role: "editor" });
});

afterEach(() => {
  session.close();
  vi.unstubAllGlobals();
});

describe("a repl's page", () => {
  it("shows the live state as plain data and keeps it while disconnected", () => {
    room.set("#live", "live", "sandbox", { state: "starting", stage: "copying files" });
    room.set("#live", "live", "notices", ["hello"]);
    expect(session.getSnapshot()).toMatchObject({
      live: null,
      connection: { state: "connecting" },
    });
    room.serve(FakeWebSocket.last);
    expect(session.getSnapshot().connection).toEqual({ state: "open" });
    expect(session.getSnapshot().live).toMatchObject({
      sandbox: { state: "starting", stage: "copying files" },
      notices: ["hello"],
      terminals: [],
    } satisfies Partial<LiveState>);
    const before = session.getSnapshot().live;
    room.set("#live", "live", "sandbox", { state: "ready" });
    expect(session.getSnapshot().live?.sandbox).toEqual({ state: "ready" });
    expect(session.getSnapshot().live?.notices).toBe(before?.notices);
    FakeWebSocket.last.end();
    expect(session.getSnapshot().live?.sandbox).toEqual({ state: "ready" });
  });

  it("takes a room's new generation without showing an empty moment", () => {
    room.set("#live", "live", "notices", ["old"]);
    room.serve(FakeWebSocket.last);
    FakeWebSocket.last.end();
    const seen = new Set<string>();
    session.subscribe(() => seen.add(JSON.stringify(session.getSnapshot().live?.notices)));
    room.docs.clear();
    room.generation = 2;
    room.set("#live", "live", "notices", ["new"]);
    session.reconnect();
    room.serve(FakeWebSocket.last);
    expect(session.getSnapshot().live?.notices).toEqual(["new"]);
    expect([...seen]).toEqual(['["old"]', '["new"]']);
  });

  it("lists folders sorted, lazily, and follows renames", () => {
    room.serve(FakeWebSocket.last);
    const address = `#dir/${ROOT_FOLDER}`;
    room.set(address, "entries", "b10.py", entry("b".repeat(16), "file"));
    room.set(address, "entries", "b9.py", entry(file, "file"));
    room.set(address, "entries", "src", entry("s".repeat(16), "folder"));
    const folder = session.openFolder(ROOT_FOLDER);
    const names = () => {
      const snapshot = folder.getSnapshot();
      return snapshot.state === "ready" ? snapshot.entries.map(({ name }) => name) : snapshot.state;
    };
    expect(names()).toEqual(["src", "b9.py", "b10.py"]);
    const opened = session.openDocument(file, "b9.py");
    room.doc(address).getMap("entries").delete("b9.py");
    room.set(address, "entries", "a.py", entry(file, "file"));
    expect(opened.getSnapshot().path).toBe("a.py");
    FakeWebSocket.last.end();
    expect(folder.getSnapshot().state).toBe("stale");
    room.send(address, { type: "closed", code: 4404 });
    folder.release();
    opened.release();
  });

  it("sums up durability and waits for acknowledgements", async () => {
    room.serve(FakeWebSocket.last);
    const document = session.openDocument(file, "main.py");
    await until(() => expect(document.getSnapshot().state).toBe("open"));
    const snapshot = document.getSnapshot();
    if (snapshot.state !== "open") throw new Error();
    await expect(session.acknowledged(1000)).resolves.toBeUndefined();
    snapshot.replica.text.insert(0, "x");
    const acknowledged = session.acknowledged(5000);
    await until(() =>
      expect(session.getSnapshot().durability).toMatchObject({
        state: "unsaved",
        edits: 1,
        keptLocally: true,
      }),
    );
    room.send(`#${file}`, { type: "ack", seq: 1, level: 1 });
    await expect(acknowledged).resolves.toBeUndefined();
    await until(() => expect(session.getSnapshot().durability).toEqual({ state: "on-disk" }));
    room.send(`#${file}`, { type: "ack", seq: 1, level: 2 });
    await until(() => expect(session.getSnapshot().durability).toEqual({ state: "stored" }));
    snapshot.replica.text.insert(0, "y");
    await expect(session.acknowledged(50)).rejects.toThrow("not confirmed");
  });

  it("sends edits that an earlier page left, without anything being opened", async () => {
    room.serve(FakeWebSocket.last);
    const document = session.openDocument(file, "main.py");
    await until(() => expect(document.getSnapshot().state).toBe("open"));
    FakeWebSocket.last.end();
    const snapshot = document.getSnapshot();
    if (snapshot.state !== "open") throw new Error();
    snapshot.replica.text.insert(0, "left behind");
    await until(() => expect(session.getSnapshot().durability.state).toBe("unsaved"));
    session.close();

    session = new ReplSession({ repl: `repl${repl}`, me, role: "editor" });
    room.serve(FakeWebSocket.last);
    await until(() =>
      expect(room.doc(`#${file}`).getText("content").toString()).toBe("left behind"),
    );
    await until(() => expect(session.getSnapshot().durability.state).toBe("unsaved"));
  });

  it("drops a connection that sends nonsense, and answers pings", () => {
    room.serve(FakeWebSocket.last);
    FakeWebSocket.last.deliver(Uint8Array.of(9));
    expect(FakeWebSocket.last.sent.at(-1)).toEqual(Uint8Array.of(10));
    FakeWebSocket.last.deliver(Uint8Array.of(200));
    expect(session.getSnapshot().connection.state).toBe("waiting");
  });
});
