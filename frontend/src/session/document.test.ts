import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import type { Me } from "@/gen/api";
import { Refusal } from "@/wire/codec";
import { DocumentSession } from "./document";
import { BrowserKeptStore } from "./kept";
import type { RescuedText } from "./model";
import { until } from "./until.testing";
import { MemoryPeer } from "./peer.testing";

const me: Me = {
  member: "m".repeat(16),
  name: "Ada",
  colour: "#aa0000",
  owner: true,
  unnamed: false,
};
const file = "f".repeat(16);

let repl = 0;
let peer: MemoryPeer;
let kept: BrowserKeptStore;
let pages: Page[];

/** One tab with one open document. */
class Page {
  readonly rescued: RescuedText[] = [];
  readonly session: DocumentSession;
  readonly kept = new BrowserKeptStore();
  private connection: ReturnType<MemoryPeer["connect"]> | null = null;

  constructor(options: { readOnly?: boolean } = {}) {
    this.session = new DocumentSession({
      repl: `repl${repl}`,
      file,
      path: "main.py",
      me,
      readOnly: options.readOnly ?? false,
      kept: this.kept,
      send: (message) => peer.sender(() => this.connection)(message),
      onDurability: () => undefined,
      onRescued: (text) => this.rescued.push(text),
    });
    pages.push(this);
  }

  connect(): void {
    // `connect` calls the channel before it returns: the sender must already work.
    const channel = this.session;
    this.connection = peer.connect({
      connected: () => undefined,
      disconnected: () => channel.disconnected(),
      receive: (message) => channel.receive(message),
    });
    channel.connected();
  }

  cut(): void {
    const connection = this.connection;
    this.connection = null;
    if (connection) peer.cut(connection);
  }

  /** The tab is gone, without any goodbye. */
  crash(): void {
    this.cut();
    this.connection = null;
    vi.spyOn(this.session, "flush").mockImplementation(() => undefined);
  }

  get shown() {
    const snapshot = this.session.state.getSnapshot();
    if (snapshot.state !== "open") throw new Error(`not open but ${snapshot.state}`);
    return snapshot;
  }

  get text(): string {
    return this.shown.replica.text.toString();
  }

  type(at: number, text: string): void {
    this.shown.replica.text.insert(at, text);
  }

  async opened(): Promise<this> {
    await until(() => expect(this.session.state.getSnapshot().state).toBe("open"));
    return this;
  }

  async synced(): Promise<this> {
    await until(() => expect(this.shown.synced).toBe(true));
    return this;
  }
}

async function reaches(text: string): Promise<void> {
  await until(() => expect(peer.text).toBe(text));
}

beforeEach(() => {
  repl += 1;
  pages = [];
  peer = new MemoryPeer(file);
  kept = new BrowserKeptStore();
});

afterEach(() => {
  for (const page of pages) page.session.dispose();
});

describe("a document", () => {
  it("shows nothing before the first exchange, then the server's text", async () => {
    peer.edit((text) => text.insert(0, "print(1)\n"));
    const page = new Page();
    expect(page.session.state.getSnapshot().state).toBe("opening");
    page.connect();
    await page.synced();
    expect(page.text).toBe("print(1)\n");
    expect(page.shown.path).toBe("main.py");
  });

  it("carries edits both ways and reports each level of safety when it is reached", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    expect(page.session.durability()).toBe("idle");
    page.type(0, "hello");
    expect(page.session.durability()).toBe("unsaved");
    expect(page.session.unsaved()).toMatchObject({ edits: 1 });
    await reaches("hello");
    expect(page.session.durability()).toBe("unsaved");
    peer.acknowledge(1);
    expect(page.session.durability()).toBe("on-disk");
    expect(page.session.unsaved()).toBeNull();
    peer.edit((text) => text.insert(5, "!"));
    expect(page.text).toBe("hello!");
    peer.acknowledge(2);
    expect(page.session.durability()).toBe("stored");
    expect(page.session.isSettled).toBe(true);
  });

  it("sends a burst of keys in few messages and a lone key at once", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    for (let index = 0; index < 100; index += 1) page.type(index, "x");
    await reaches("x".repeat(100));
    expect(peer.log.filter((message) => message.type === "update").length).toBeLessThan(4);
  });

  it("merges what both sides did while the connection was away", async () => {
    peer.edit((text) => text.insert(0, "abc"));
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    expect(page.shown.synced).toBe(false);
    page.type(3, "D");
    peer.edit((text) => text.insert(0, "0"));
    page.connect();
    await reaches("0abcD");
    expect(page.text).toBe("0abcD");
    expect(page.shown.synced).toBe(true);
  });

  it("offers edits again that were acknowledged but never stored", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.type(0, "one");
    await reaches("one");
    peer.acknowledge(1);
    page.cut();
    // The machine died; another one starts from the blob store, without the edit.
    peer.doc = new Y.Doc();
    page.connect();
    await reaches("one");
    peer.acknowledge(2);
    expect(page.session.durability()).toBe("stored");
  });

  it("gives back to the server what only this copy still has from others", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    peer.edit((text) => text.insert(0, "by another"));
    expect(page.text).toBe("by another");
    page.cut();
    peer.doc = new Y.Doc();
    page.connect();
    await reaches("by another");
  });
});

describe("kept edits", () => {
  it("survive a crash, are shown while offline, and merge on return", async () => {
    peer.edit((text) => text.insert(0, "base "));
    const before = new Page();
    before.connect();
    await before.synced();
    before.cut();
    before.type(5, "typed offline");
    await until(async () => {
      const [copy] = await kept.load(`repl${repl}`, file);
      expect(copy?.updates.length).toBe(1);
      expect(copy?.state).not.toBeNull();
    });
    before.crash();

    const after = await new Page().opened();
    expect(after.text).toBe("base typed offline");
    expect(after.shown.synced).toBe(false);
    expect(after.session.unsaved()).toMatchObject({ edits: 1 });
    peer.edit((text) => text.insert(0, "> "));
    after.connect();
    await reaches("> base typed offline");
    expect(after.text).toBe("> base typed offline");
    peer.acknowledge(1);
    peer.acknowledge(2);
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("outlive both the tab and the machine that had only acknowledged them", async () => {
    const before = new Page();
    before.connect();
    await before.synced();
    before.type(0, "fsynced only");
    await reaches("fsynced only");
    peer.acknowledge(1);
    await until(async () => {
      const [copy] = await kept.load(`repl${repl}`, file);
      expect(copy?.updates.length).toBe(1);
    });
    before.crash();
    peer.die();
    const after = await new Page().opened();
    after.connect();
    await reaches("fsynced only");
  });

  it("of two tabs double nothing, whoever sends them", async () => {
    const first = new Page();
    first.connect();
    await first.synced();
    first.cut();
    first.type(0, "A");
    await until(async () => expect(await kept.list(`repl${repl}`)).toHaveLength(1));
    const second = await new Page().opened();
    expect(second.text).toBe("A");
    expect(second.shown.replica.doc.clientID).not.toBe(first.shown.replica.doc.clientID);
    second.type(1, "B");
    first.connect();
    second.connect();
    await reaches("AB");
    expect(first.text).toBe("AB");
    peer.acknowledge(2);
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("stay few during a long time offline", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    for (let index = 0; index < 450; index += 1) {
      page.type(index, "y");
      page.session.flush();
    }
    expect(page.session.unsaved()?.edits).toBe(450);
    await until(async () => {
      const [copy] = await kept.load(`repl${repl}`, file);
      expect(copy?.updates.length).toBeLessThan(202);
      expect(copy?.updates.reduce((sum, update) => sum + update.edits, 0)).toBe(450);
    });
    page.connect();
    await reaches("y".repeat(450));
  });
});

describe("kept edits of several tabs", () => {
  async function left(): Promise<number> {
    const copies = await kept.load(`repl${repl}`, file);
    return copies.reduce((sum, { updates }) => sum + updates.length, 0);
  }

  it("that one left behind are taken up by another one that is still open", async () => {
    const [closed, open] = [new Page(), new Page()];
    for (const page of [closed, open]) {
      page.connect();
      await page.synced();
      page.cut();
    }
    closed.type(0, "left behind");
    await until(async () => expect(await left()).toBe(1));
    closed.crash();
    open.connect();
    await open.session.takeLeft();
    expect(open.text, "a tab that may still live is left alone").toBe("");
    const later = Date.now() + 60_000;
    vi.spyOn(Date, "now").mockReturnValue(later);
    await open.session.takeLeft();
    vi.restoreAllMocks();
    await reaches("left behind");
    expect(open.text).toBe("left behind");
    peer.store();
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("are complete though each tab keeps a snapshot, and the server lost what they build on", async () => {
    const [first, second] = [new Page(), new Page()];
    first.connect();
    second.connect();
    await first.synced();
    await second.synced();
    second.cut();
    peer.edit((text) => text.insert(0, "by another "));
    first.type(11, "A");
    await until(async () => {
      const [copy] = await kept.load(`repl${repl}`, file);
      expect(copy?.state).not.toBeNull();
    });
    second.type(0, "B");
    second.session.flush();
    await until(async () => expect(await left()).toBe(2));
    await second.kept.settled();
    first.crash();
    second.crash();
    peer.die();
    const after = await new Page().opened();
    expect([...after.text].sort().join("")).toBe([..."by another AB"].sort().join(""));
    after.connect();
    await reaches(after.text);
  });
});

describe("a server that was set back to an older state", () => {
  it("gets everything again, and it counts as unsafe until acknowledged", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.type(0, "stored once");
    await reaches("stored once");
    peer.acknowledge(1);
    peer.acknowledge(2);
    expect(page.session.durability()).toBe("stored");
    page.cut();
    peer.doc = new Y.Doc();
    page.connect();
    await reaches("stored once");
    expect(page.session.durability()).toBe("unsaved");
    await until(async () => expect(await kept.list(`repl${repl}`)).toHaveLength(1));
    peer.store();
    expect(page.session.durability()).toBe("stored");
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("and to another history costs nobody what was stored in the first", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.type(0, "stored once");
    await reaches("stored once");
    peer.store();
    page.cut();
    peer.restart("older");
    page.connect();
    await page.synced();
    expect(page.text).toBe("older");
    expect(page.rescued).toMatchObject([{ text: "stored once", reason: "replaced" }]);
  });

  it("and lacks the file: the text is kept", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.type(0, "stored once");
    await reaches("stored once");
    peer.store();
    page.cut();
    peer.closedCode = Refusal.notFound;
    page.connect();
    await until(() => expect(page.rescued).toMatchObject([{ text: "stored once" }]));
  });

  it("is nothing to talk about to somebody who only read", async () => {
    peer.edit((text) => text.insert(0, "read only"));
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    peer.restart("older");
    page.connect();
    await page.synced();
    expect(page.text).toBe("older");
    expect(page.rescued).toEqual([]);
  });
});

describe("what is kept", () => {
  it("stays small while the blob store is away for long", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    for (let index = 0; index < 650; index += 1) {
      page.type(index, "z");
      page.session.flush();
      peer.acknowledge(1);
    }
    expect(page.session.durability()).toBe("on-disk");
    await page.kept.settled();
    const [copy] = await kept.load(`repl${repl}`, file);
    expect(copy?.updates.length).toBeLessThan(210);
    page.crash();
    peer.die();
    const after = await new Page().opened();
    expect(after.text).toBe("z".repeat(650));
    after.connect();
    await reaches("z".repeat(650));
    peer.store();
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("is shown to somebody who may only look by now", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    page.type(0, "when I could still edit");
    await until(async () => expect(await kept.list(`repl${repl}`)).toHaveLength(1));
    page.crash();
    const viewer = new Page({ readOnly: true });
    await until(() =>
      expect(viewer.rescued).toMatchObject([
        { text: "when I could still edit", reason: "refused" },
      ]),
    );
    await until(async () => expect(await kept.load(`repl${repl}`, file)).toEqual([]));
  });

  it("is rescued once by two tabs that held the same text", async () => {
    const first = new Page();
    first.connect();
    await first.synced();
    first.cut();
    first.type(0, "typed offline");
    await until(async () => expect(await kept.list(`repl${repl}`)).toHaveLength(1));
    const second = await new Page().opened();
    peer.restart("another");
    first.connect();
    second.connect();
    await first.synced();
    await second.synced();
    await first.kept.settled();
    expect(await kept.listRescued(`repl${repl}`)).toHaveLength(1);
    expect(peer.text).toBe("another");
  });
});

describe("refusals", () => {
  it("drop the copy, take a new client id, and keep the text aside", async () => {
    peer.edit((text) => text.insert(0, "good"));
    const page = new Page();
    page.connect();
    await page.synced();
    const client = page.shown.replica.doc.clientID;
    peer.refuse = Refusal.malformed;
    page.type(4, " and lost");
    await until(() => expect(page.rescued).toHaveLength(1));
    await page.synced();
    expect(page.text).toBe("good");
    expect(page.shown.replica.doc.clientID).not.toBe(client);
    expect(page.rescued[0]).toMatchObject({
      text: "good and lost",
      reason: "refused",
      path: "main.py",
    });
    expect(await kept.listRescued(`repl${repl}`)).toHaveLength(1);
    page.type(4, " again");
    await reaches("good again");
  });

  it("keep edits when the server only cannot store them now", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    peer.refuseOnly = Refusal.unavailable;
    page.type(0, "patient");
    await until(() => expect(peer.refuseOnly).toBeNull());
    expect(peer.text).toBe("");
    expect(page.session.durability()).toBe("unsaved");
    await until(() => expect(peer.text).toBe("patient"));
    expect(page.rescued).toEqual([]);
  });

  it("of the whole history rescue the text unless the new one has it", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    page.type(0, "offline words");
    peer.restart("another version");
    page.connect();
    await until(() => expect(page.rescued).toHaveLength(1));
    await page.synced();
    expect(page.text).toBe("another version");
    expect(page.rescued[0]).toMatchObject({ text: "offline words", reason: "replaced" });

    page.cut();
    page.type(0, "x");
    peer.restart("xanother version");
    page.connect();
    await page.synced();
    expect(page.rescued).toHaveLength(1);
  });

  it("rescue what was typed into a file that was deleted", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.cut();
    page.type(0, "late");
    peer.closedCode = Refusal.notFound;
    page.connect();
    await until(() =>
      expect(page.session.state.getSnapshot()).toMatchObject({
        state: "unavailable",
        reason: "not-found",
      }),
    );
    expect(page.rescued).toMatchObject([{ text: "late", reason: "deleted" }]);
  });

  it("need no rescue when a file with acknowledged edits is deleted, and it can come back", async () => {
    const page = new Page();
    page.connect();
    await page.synced();
    page.type(0, "safe");
    await reaches("safe");
    peer.acknowledge(1);
    page.session.receive({ type: "closed", code: Refusal.notFound });
    expect(page.session.state.getSnapshot().state).toBe("unavailable");
    expect(page.rescued).toEqual([]);
    expect(page.session.isSettled).toBe(true);
    page.session.appeared();
    await page.synced();
    expect(page.text).toBe("safe");
  });

  it("never happen to viewers, who send nothing", async () => {
    peer.edit((text) => text.insert(0, "look"));
    const page = new Page({ readOnly: true });
    page.connect();
    await page.synced();
    expect(page.text).toBe("look");
    expect(page.shown.readOnly).toBe(true);
    expect(peer.log.some((message) => message.type === "update")).toBe(false);
  });
});

describe("carets", () => {
  it("reach the others and vanish with the connection", async () => {
    const [a, b] = [new Page(), new Page()];
    a.connect();
    b.connect();
    await a.synced();
    await b.synced();
    const seen = () => b.shown.replica.awareness.getStates().get(a.shown.replica.doc.clientID);
    await until(() => expect(seen()).toMatchObject({ user: { name: "Ada", color: "#aa0000" } }));
    b.cut();
    expect(seen()).toBeUndefined();
  });
});
