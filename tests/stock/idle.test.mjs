// Clients that say and hear nothing for over a minute must stay connected: the stock y-websocket
// client gives a server up after 30 s without a message.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { eventually, Server } from "../server.mjs";
import { all } from "./clients.mjs";

const SILENCE = 70_000;
let server;
let clients = [];
before(async () => {
  server = await Server.start();
});
after(async () => {
  for (const client of clients) client.destroy();
  await server?.stop();
});

test("alone and idle for 70 s without a reconnect", async () => {
  const breaks = [];
  for (const kind of all) {
    // Alone: each on a document of its own.
    const repl = await server.create("python");
    const client = kind.open(server, repl, "main.py");
    clients.push(client);
    await eventually("it is synced", () => client.isSynced());
    client.provider.on(
      "status",
      ({ status }) => status === "disconnected" && breaks.push(kind.name),
    );
    client.provider.on("disconnect", () => breaks.push(kind.name));
  }
  await new Promise((resolve) => setTimeout(resolve, SILENCE));
  assert.deepEqual(breaks, []);
  for (const client of clients) client.append("# still here\n");
  await eventually("the edits arrive", () =>
    clients.every(
      (client) =>
        client.provider.unsyncedChanges === undefined || client.provider.unsyncedChanges === 0,
    ),
  );
});
