// The page in a real Chromium, against the real server: few flows, each a thing people do.
import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../server.mjs";
import { Stage } from "./stage.mjs";

const stage = Stage.set();

test("the printed link opens the product, and a template opens a repl", async () => {
  const person = await stage.owner();
  assert.ok(!person.page.url().includes("token"), "the token has left the address bar");
  await person.shoot("home-empty");
  await person.page.getByRole("button", { name: "Python" }).first().click();
  await person.page.waitForURL(/\/r\/[a-z2-7]{16}/);
  await person.open("main.py");
  await person.sees("the template's text", (text) => text.includes("Hello from Python!"));
  await person.shoot("workspace-first");
  await person.goto(stage.server.url);
  await person.page
    .getByRole("link", { name: /python/i })
    .first()
    .waitFor();
  await person.shoot("home");
  assert.deepEqual(person.errors, []);
});

test("two people type in one file and see the same", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.open("main.py");
  await bob.sees("the text", (text) => text.includes("Hello from Python!"));
  await Promise.all([ada.typeAtEnd("# from Ada"), bob.typeAtStart("# from Bob\n")]);
  const both = (text) => text.includes("# from Ada") && text.includes("# from Bob");
  await ada.sees("both edits", both);
  await bob.sees("both edits", both);
  assert.equal(await ada.text(), await bob.text());
  await ada.page.getByText("Bob").first().waitFor();
  await ada.saved();
  await ada.shoot("two-people");

  // Undo takes back one's own edit only.
  await ada.code.click();
  for (let presses = 0; presses < 20 && (await ada.text()).includes("# from Ada"); presses++) {
    await ada.page.keyboard.press("Control+z");
  }
  const text = await bob.sees("Ada's edit is gone", (text) => !text.includes("# from Ada"));
  assert.ok(text.includes("# from Bob"));
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test("Run shows output, exit and a second run what was typed", async () => {
  const { person, repl } = await stage.ownerOn();
  await person.runButton.click();
  await person.terminalShows("Hello from Python!");
  await person.page
    .getByText(/Finished in/)
    .first()
    .waitFor();
  await person.typeAtStart('print("typed just now")\n');
  await person.runButton.click();
  await person.terminalShows("typed just now");
  await person.shoot("run");
  await stage.server.write(
    repl,
    "main.py",
    "import time\nprint('waiting', flush=True)\ntime.sleep(1000)\n",
  );
  await person.sees("the new text", (text) => text.includes("waiting"));
  await person.runButton.click();
  await person.terminalShows("waiting");
  await person.stopButton.click();
  await person.runButton.waitFor();
  assert.deepEqual(person.errors, []);
});

test("a shell is shared and survives a reload", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  await ada.shell();
  await ada.page.keyboard.type("echo shared-$((40 + 2))\n");
  await ada.terminalShows("shared-42");
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.terminalShows("shared-42");
  await bob.page.locator(".xterm").first().click();
  await bob.page.keyboard.type("echo from-bob-$((1 + 1))\n");
  await ada.terminalShows("from-bob-2");
  await ada.page.reload();
  await ada.terminalShows("shared-42");
  await ada.terminalShows("from-bob-2");
  await ada.shoot("shell");
});

test("what a program writes shows in the open editor", async () => {
  const { person, repl } = await stage.ownerOn();
  await person.shell();
  await person.page.keyboard.type("sed -i s/Hello/Goodbye/ main.py; echo made > made.txt\n");
  await person.sees("the program's edit", (text) => text.includes("Goodbye from Python!"));
  await person.item("made.txt").waitFor();
  assert.ok((await stage.server.read(repl, "main.py")).includes("Goodbye"));
});

test("a web program shows in the preview", async () => {
  const { person } = await stage.ownerOn({ template: "node", file: "server.js" });
  await person.runButton.click();
  const frame = person.page.frameLocator("iframe[title='Web page of the program']");
  await frame.getByText(/Good (morning|afternoon|evening), world!/).waitFor();
  await eventually("events stream into it", async () =>
    /\d\d:\d\d:\d\d/.test(await frame.locator("#time").textContent()),
  );
  await person.shoot("preview");
  const context = person.page.frames().find((candidate) => candidate.url().includes("3000-"));
  assert.equal(await context.evaluate(() => document.cookie), "", "no cookie of the site in it");
});

test("typing goes on offline, survives a reload, and merges on return", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.open("main.py");
  await ada.saved();
  await ada.context.setOffline(true);
  await ada.typeAtEnd("# typed offline");
  await bob.typeAtStart("# typed meanwhile\n");
  await ada.page
    .getByText(/not on the server yet|Reconnecting|Offline/)
    .first()
    .waitFor();
  await ada.shoot("offline");
  await ada.context.setOffline(false);
  const both = (text) => text.includes("# typed offline") && text.includes("# typed meanwhile");
  await ada.sees("both edits", both, 30_000);
  await bob.sees("both edits", both, 30_000);
  assert.equal(await ada.text(), await bob.text());
});

test("the server is killed and restarted while people type", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.open("main.py");
  await ada.typeAtEnd("# before the crash\n");
  await ada.saved();
  await stage.server.kill();
  await ada.typeAtEnd("# while it was down\n");
  // The edits are kept in the browser: they even outlive the page.
  await stage.server.launch();
  await bob.sees(
    "what was typed meanwhile",
    (text) => text.includes("# while it was down"),
    30_000,
  );
  await ada.typeAtEnd("# after the crash\n");
  const all = (text) =>
    ["before the crash", "while it was down", "after the crash"].every(
      (part) => text.split(`# ${part}`).length === 2,
    );
  await ada.sees("each edit once", all);
  await bob.sees("each edit once", all);
  await ada.saved();
  assert.ok(all(await stage.server.read(repl, "main.py")));
  await ada.shoot("after-restart");
});

test("unsent edits outlive a reload of the page", async () => {
  const { person, repl } = await stage.ownerOn();
  await person.saved();
  await stage.server.kill();
  await person.typeAtEnd("# kept in the browser");
  await person.page.waitForTimeout(500);
  await stage.server.launch();
  await person.page.reload();
  await eventually(
    "the server has it",
    async () => (await stage.server.read(repl, "main.py")).includes("# kept in the browser"),
    30_000,
  );
});

test("a viewer sees everything and changes nothing", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  const vera = await stage.guestOn(repl, "viewer", "Vera");
  await vera.open("main.py");
  const before = await stage.server.read(repl, "main.py");
  await vera.code.click();
  await vera.page.keyboard.type("not mine to type");
  await ada.typeAtEnd("# from Ada");
  await vera.sees("Ada's edit", (text) => text.includes("# from Ada"));
  assert.ok(!(await vera.text()).includes("not mine to type"));
  await ada.saved();
  assert.equal(await stage.server.read(repl, "main.py"), `${before}# from Ada`);
  assert.equal(await vera.runButton.getAttribute("aria-disabled"), "true");
  await vera.page.getByText("View only").first().waitFor();
  await vera.shoot("viewer");
});

test("on a phone: one pane at a time, and typing works", async () => {
  const repl = await stage.server.create("python");
  const phone = {
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
    deviceScaleFactor: 2,
  };
  const person = await stage.owner(phone);
  await person.shoot("phone-home");
  await person.goto(`${stage.server.url}/r/${repl}`);
  const panes = person.page.getByRole("navigation", { name: "Panes" });
  await panes.getByText("Files").click();
  await person.item("main.py").click();
  await person.code.waitFor();
  await person.typeAtEnd("# by thumb");
  await person.sees("the text", (text) => text.includes("# by thumb"));
  await person.shoot("phone-editor");
  const width = await person.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} pixels wide`);
});

test("files are made, renamed, deleted and brought back by an undo", async () => {
  const { person, repl } = await stage.ownerOn();
  await person.page.getByRole("button", { name: "New file" }).first().click();
  await person.page.getByLabel("File or folder name").fill("notes.txt");
  await person.page.keyboard.press("Enter");
  await person.page.getByRole("tab", { name: "notes.txt" }).waitFor();
  await person.typeAtEnd("remember");
  await eventually(
    "the file is there",
    async () => (await stage.server.read(repl, "notes.txt")) === "remember",
  );
  await person.item("notes.txt").click();
  await person.page.keyboard.press("F2");
  await person.page.getByLabel("File or folder name").fill("kept.txt");
  await person.page.keyboard.press("Enter");
  await eventually(
    "it is renamed",
    async () => (await stage.server.read(repl, "kept.txt")) === "remember",
  );
  await person.item("kept.txt").click();
  await person.page.keyboard.press("Delete");
  await person.page.getByRole("button", { name: "Undo" }).first().click();
  await eventually(
    "it is back",
    async () => (await stage.server.read(repl, "kept.txt")) === "remember",
  );
});
