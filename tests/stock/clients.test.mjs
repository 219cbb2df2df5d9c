// The npm clients as everybody gets them, at two major versions each, against a real server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { eventually, Server } from "../server.mjs";
import { all, hocuspoci, yWebsockets } from "./clients.mjs";
import { OwnClient } from "./own.mjs";

let server;
const opened = [];
before(async () => {
  server = await Server.start();
});
after(async () => {
  for (const client of opened) client.destroy();
  await server?.stop();
});

function open(kind, ...rest) {
  const client = kind.open(server, ...rest);
  opened.push(client);
  return client;
}

async function synced(...clients) {
  await eventually("all clients are synced", () => clients.every((client) => client.isSynced()));
}

test("every client, and ours, on one document: all converge", async () => {
  const repl = await server.create("python");
  await server.write(repl, "notes.txt", "start\n");
  const clients = all.map((kind) => open(kind, repl, "notes.txt"));
  const own = OwnClient.open(server, repl, "notes.txt");
  opened.push(own);
  clients.push(own);
  await synced(...clients);
  for (const client of clients) assert.equal(client.toString(), "start\n");

  for (let round = 0; round < 10; round++) {
    clients.forEach((client, index) => client.append(`client ${index} round ${round}\n`));
  }
  const lines = 1 + 10 * clients.length;
  await eventually("all edits are everywhere", () =>
    clients.every((client) => client.toString().split("\n").length === lines + 1),
  );
  for (const client of clients) assert.equal(client.toString(), clients[0].toString());
  await eventually("our edits are acked", () => own.acked === own.sent);
  assert.equal(await server.read(repl, "notes.txt"), clients[0].toString());
});

test("carets reach all clients and go with their owner", async () => {
  const repl = await server.create("python");
  const clients = all.map((kind) => open(kind, repl, "main.py"));
  await synced(...clients);
  clients.forEach((client, index) =>
    client.awareness.setLocalStateField("user", { name: `p${index}` }),
  );
  const names = (client) =>
    [...client.awareness.getStates().values()].map((state) => state.user?.name).sort();
  const everybody = clients.map((_, index) => `p${index}`);
  await eventually("everybody sees everybody", () =>
    clients.every((client) => JSON.stringify(names(client)) === JSON.stringify(everybody)),
  );
  clients[0].destroy();
  await eventually("the caret is gone", () =>
    clients.slice(1).every((client) => !names(client).includes("p0")),
  );
});

test("offline edits merge on return", async () => {
  const repl = await server.create("python");
  await server.write(repl, "notes.txt", "");
  for (const kind of yWebsockets) {
    const [away, present] = [open(kind, repl, "notes.txt"), open(kind, repl, "notes.txt")];
    await synced(away, present);
    away.provider.disconnect();
    away.append(`${kind.name} offline\n`);
    present.append(`${kind.name} online\n`);
    away.provider.connect();
    await eventually("both have both", () =>
      [away, present].every((client) => {
        const text = client.toString();
        return text.includes(`${kind.name} offline\n`) && text.includes(`${kind.name} online\n`);
      }),
    );
  }
});

test("nothing that a client counts as synced is lost by kill -9", async () => {
  for (const kind of hocuspoci) {
    const repl = await server.create("python");
    await server.write(repl, "notes.txt", "");
    const client = open(kind, repl, "notes.txt");
    await synced(client);
    for (let round = 0; round < 3; round++) {
      client.append(`round ${round}\n`);
      await eventually("nothing is unsynced", () => client.provider.unsyncedChanges === 0);
      await server.kill();
      await server.launch();
      assert.ok(
        (await server.read(repl, "notes.txt")).includes(`round ${round}\n`),
        `${kind.name}, round ${round}`,
      );
      await eventually("it is back", () => client.isSynced());
    }
  }
});

test("a viewer reads and changes nothing", async () => {
  const repl = await server.create("python");
  const text = await server.read(repl, "main.py");
  const { token } = await server.share(repl, "viewer");
  for (const kind of all) {
    const client = open(kind, repl, "main.py", token);
    await synced(client);
    assert.equal(client.toString(), text, kind.name);
    if (client.provider.authorizedScope !== undefined)
      assert.equal(client.provider.authorizedScope, "readonly");
    client.append("# by a viewer\n");
    if (client.closes) await eventually("it is closed", () => client.closes.includes(4403));
  }
  const witness = open(yWebsockets[0], repl, "main.py");
  await synced(witness);
  assert.equal(witness.toString(), text);
  assert.equal(await server.read(repl, "main.py"), text);
});

test("a bad token is denied for good", async () => {
  const repl = await server.create("python");
  for (const kind of hocuspoci) {
    const client = open(kind, repl, "main.py", "not-the-token");
    await eventually(`${kind.name} is denied`, () => client.denied.length > 0);
  }
  for (const kind of yWebsockets) {
    const client = open(kind, repl, "main.py", "not-the-token");
    await eventually(`${kind.name} is closed`, () => client.closes.includes(4401));
    // Version 2 knows nothing of permanent codes.
    client.provider.disconnect();
  }
  const client = open(yWebsockets[1], repl, "missing.txt");
  await eventually("a missing file says so", () => client.closes.includes(4404));
  assert.equal(client.provider.shouldConnect, false, "and is not tried again");
});

test("names with slashes, spaces, percent signs and all letters", async () => {
  const repl = await server.create("python");
  for (const name of [
    "src/deep/file.txt",
    "with space.txt",
    "100%.txt",
    "a%20b.txt",
    "ünïcode 文件.txt",
  ]) {
    await server.write(repl, name, `I am ${name}\n`);
    // y-websocket puts the name into its address as it is: `%` and two digits would be read as one
    // character, so whoever uses it has to write `%25`.
    const escaped = name.replaceAll(/%(?=[0-9a-f]{2})/gi, "%25");
    const clients = all.map((kind) =>
      open(kind, repl, yWebsockets.includes(kind) ? escaped : name),
    );
    await synced(...clients);
    for (const [index, client] of clients.entries())
      assert.equal(client.toString(), `I am ${name}\n`, all[index].name);
    for (const client of clients) client.destroy();
  }
});

test("two documents on one socket", async () => {
  for (const kind of hocuspoci) {
    const repl = await server.create("python");
    await server.write(repl, "other.txt", "other\n");
    const socket = kind.socketTo(server);
    opened.push(socket);
    const main = open(kind, repl, "main.py", server.token, { socket });
    const other = open(kind, repl, "other.txt", server.token, { socket });
    await synced(main, other);
    other.append("typed\n");
    await eventually("it is acked", () => other.provider.unsyncedChanges === 0);
    assert.equal(await server.read(repl, "other.txt"), "other\ntyped\n");
    assert.ok(main.toString().includes("Hello from Python"));
  }
});

test("one document twice on one socket, by session", async () => {
  const kind = hocuspoci[1];
  const repl = await server.create("python");
  const socket = kind.socketTo(server);
  opened.push(socket);
  const options = { socket, configuration: { sessionAwareness: true } };
  const [a, b] = [
    open(kind, repl, "main.py", server.token, options),
    open(kind, repl, "main.py", server.token, options),
  ];
  await synced(a, b);
  a.append("# from a\n");
  await eventually("the other session has it", () => b.toString().endsWith("# from a\n"));
});
