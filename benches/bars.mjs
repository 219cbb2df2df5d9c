// Measures what a person waits for, on the real program and in a real browser, and prints a
// Markdown table. Every figure is taken on loopback, with server, browser and sandbox on one machine.
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { createRequire } from "node:module";

import { launchBrowser, Person } from "../tests/browser/person.mjs";
import { eventually, Server } from "../tests/server.mjs";
import { OwnClient } from "../tests/stock/own.mjs";

const WebSocket = createRequire(new URL("../tests/stock/", import.meta.url))("ws");
const ROUNDS = 7;
const KEYS = 200;
const EDITS = 1000;

const rows = [];

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function row(what, bar, samples, shares = { median: 0.5, worst: 1 }) {
  const sorted = [...samples].sort((a, b) => a - b);
  const figures = Object.entries(shares).map(
    ([name, share]) => `${name} ${percentile(sorted, share).toFixed(1)} ms`,
  );
  rows.push([what, bar, figures.join(", "), String(samples.length)]);
  console.error(`${what}: ${figures.join(", ")}`);
}

/** Opens a terminal's socket and resolves when its output holds a match. */
function output(server, repl, terminal, pattern) {
  return new Promise((resolve, reject) => {
    const address = `ws://localhost:${server.port}/api/v1/repls/${repl}/terminals/${terminal}/ws?token=${server.token}`;
    const socket = new WebSocket(address);
    let shown = "";
    const timer = setTimeout(
      () => reject(new Error(`no ${pattern} in ${JSON.stringify(shown)}`)),
      20_000,
    );
    socket.on("error", reject);
    socket.on("message", (data, binary) => {
      if (binary) shown += data.toString();
      if (!pattern.test(shown)) return;
      clearTimeout(timer);
      socket.close();
      resolve(performance.now());
    });
  });
}

async function post(server, path, body = {}) {
  return (await server.api("POST", path, body)).json();
}

const sandboxReady = (server, repl) =>
  eventually(
    "the sandbox is ready",
    async () => (await server.status(repl)).live.sandbox.state === "ready",
  );

async function createToEditable(server) {
  const samples = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    const repl = await server.create("python");
    const client = OwnClient.open(server, repl, "main.py");
    await eventually("the text is here", () => client.isSynced() && client.toString().length > 0);
    client.append("#");
    await new Promise((resolve) => (client.onAck = resolve));
    samples.push(performance.now() - begin);
    client.destroy();
  }
  row("Create a repl → first edit acked (API)", "< 2 s", samples);
}

async function createInBrowser(server, browser) {
  const samples = [];
  for (let round = 0; round < ROUNDS; round++) {
    const person = await Person.arrive(browser, server.link);
    await person.page.getByRole("button", { name: /New repl/ }).click();
    const template = person.page.getByRole("dialog").getByRole("button", { name: "Python" });
    await template.waitFor();
    const begin = performance.now();
    await template.click();
    await person.page.locator(".cm-content", { hasText: "Hello from Python" }).waitFor();
    samples.push(performance.now() - begin);
    await person.context.close();
  }
  row("Click a template → its text in the editor (browser)", "< 2 s", samples);
}

async function openToPrompt(server) {
  const cold = [];
  const warm = [];
  for (let round = 0; round < ROUNDS; round++) {
    const repl = await server.create("python");
    let begin = performance.now();
    const first = await post(server, `/repls/${repl}/terminals`, { cols: 80, rows: 24 });
    cold.push((await output(server, repl, first.id, /\$ $/)) - begin);
    begin = performance.now();
    const second = await post(server, `/repls/${repl}/terminals`, { cols: 80, rows: 24 });
    warm.push((await output(server, repl, second.id, /\$ $/)) - begin);
    await server.api("DELETE", `/repls/${repl}`);
  }
  row("Open a shell, sandbox asleep → prompt", "< 1 s", cold);
  row("Open a shell, sandbox up → prompt", "< 1 s", warm);
}

async function runFirstLine(server) {
  const samples = [];
  const repl = await server.create("python");
  const client = OwnClient.open(server, repl, "main.py");
  await post(server, `/repls/${repl}/terminals`);
  await sandboxReady(server, repl);
  for (let round = 0; round < 3 * ROUNDS; round++) {
    // Another program each time, so that the line cannot be one of an earlier run.
    await server.write(repl, "main.py", `print("line of round", ${round})\n`);
    const begin = performance.now();
    const { terminal } = await post(server, `/repls/${repl}/run`);
    const line = new RegExp(`line of round ${round}\\b`);
    samples.push((await output(server, repl, terminal, line)) - begin);
    await eventually("it has ended", async () => (await server.status(repl)).live.run?.exit);
  }
  client.destroy();
  row("Run → first line of a Python program", "< 300 ms", samples);
}

async function ackLatency(server) {
  const samples = [];
  const repl = await server.create("python");
  const client = OwnClient.open(server, repl, "main.py");
  await eventually("it is synced", () => client.isSynced());
  for (let edit = 0; edit < EDITS; edit++) {
    const begin = performance.now();
    const acked = new Promise((resolve) => {
      client.onAck = () => client.acked >= client.sent && resolve();
    });
    client.append("x");
    await acked;
    samples.push(performance.now() - begin);
  }
  client.destroy();
  row("Edit → acked (fsynced), one client", "", samples, { p50: 0.5, p99: 0.99 });
}

async function keystrokes(server, browser) {
  const repl = await server.create("python");
  const ada = await Person.arrive(browser, server.link);
  await ada.goto(`${server.url}/r/${repl}`);
  await ada.open("main.py");
  const link = await server.share(repl, "editor");
  const bob = await Person.arrive(browser, link.url, { name: "Bob" });
  await bob.open("main.py");
  // Both pages read the same clock. The sender notes the key press, the other the drawn change.
  await ada.page.evaluate(() => {
    window.pressed = [];
    document
      .querySelector(".cm-content")
      .addEventListener(
        "keydown",
        () => window.pressed.push(performance.timeOrigin + performance.now()),
        true,
      );
  });
  await bob.page.evaluate(() => {
    window.drawn = [];
    const length = () => document.querySelector(".cm-content").textContent.length;
    let before = length();
    new MutationObserver(() => {
      const now = length();
      if (now > before) window.drawn.push(performance.timeOrigin + performance.now());
      before = now;
    }).observe(document.querySelector(".cm-content"), {
      subtree: true,
      childList: true,
      characterData: true,
    });
  });
  await ada.code.click();
  await ada.page.keyboard.press("Control+Home");
  await ada.page.evaluate(() => (window.pressed.length = 0));
  await ada.page.waitForTimeout(500);
  await bob.page.evaluate(() => (window.drawn.length = 0));
  const samples = [];
  for (let key = 0; key < KEYS; key++) {
    await ada.page.keyboard.press("x");
    await eventually("the other side draws it", () =>
      bob.page.evaluate((count) => window.drawn.length >= count, key + 1),
    );
  }
  const pressed = await ada.page.evaluate(() => window.pressed);
  const drawn = await bob.page.evaluate(() => window.drawn);
  for (let key = 0; key < KEYS; key++) samples.push(drawn[key] - pressed[key]);
  row("Key pressed → drawn in the other browser", "< 50 ms", samples, { p50: 0.5, p99: 0.99 });
  await ada.context.close();
  await bob.context.close();
}

const server = await Server.start({ idleGrace: "2s" });
const browser = await launchBrowser();
try {
  await createToEditable(server);
  await createInBrowser(server, browser);
  await openToPrompt(server);
  await runFirstLine(server);
  await ackLatency(server);
  await keystrokes(server, browser);
} finally {
  await browser.close();
  await server.stop();
}

const system = /PRETTY_NAME="(.*)"/.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
const cpu = cpus();
console.log(
  `${cpu.length} × ${cpu[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${system}, Linux ${release()}\n`,
);
console.log("| what | bar | measured | samples |\n|---|---|---|---|");
for (const cells of rows) console.log(`| ${cells.join(" | ")} |`);
