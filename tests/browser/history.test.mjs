// A file's past on the page: versions, playback, who wrote each line.
import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../server.mjs";
import { Stage } from "./stage.mjs";

const stage = Stage.set();

/** Ada and Bob have typed into one file; Ada has its history open. */
async function typedByTwo() {
  const { person: ada, repl } = await stage.ownerOn();
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.open("main.py");
  await ada.typeAtStart("# from Ada\n");
  await bob.sees("Ada's edit", (text) => text.includes("# from Ada"));
  // So slowly that each key is an edit of its own.
  await bob.typeAtStart("# from Bob\n", { delay: 60 });
  await ada.sees("Bob's edit", (text) => text.includes("# from Bob"));
  await ada.page.getByText("Backed up").waitFor();
  await ada.page.getByRole("button", { name: "History", exact: true }).click();
  return { ada, bob, repl };
}

const sessions = (person) => person.page.getByRole("button", { name: /characters written/ });

test("an earlier version stands beside the present, and comes back as an edit", async () => {
  const { ada, bob, repl } = await typedByTwo();
  await sessions(ada).first().waitFor();
  assert.match(await sessions(ada).first().getAttribute("aria-label"), /Bob/);
  const kept = await stage.server.read(repl, "main.py");
  await stage.server.write(repl, "main.py", "print('all gone')\n");
  await bob.sees("the file is another", (text) => text.includes("all gone"));
  await sessions(ada).last().click();
  await ada.page.getByText("Read-only").waitFor();
  await ada.page.getByText(/\d+ differences?/).waitFor();
  await ada.shoot("history-version");
  await ada.page.keyboard.press("Escape");
  await ada.page.getByText("Read-only").waitFor({ state: "hidden" });

  // Played to where the text was whole, and restored from there.
  await ada.page.getByRole("button", { name: "Play this file from the beginning" }).click();
  const slider = ada.page.getByRole("slider", { name: "Position" });
  await slider.waitFor();
  await slider.focus();
  await ada.page.keyboard.press("End");
  await ada.page.keyboard.press("ArrowLeft");
  await ada.page.getByRole("button", { name: "Restore this version" }).click();
  await bob.sees("the version is back", (text) => text === kept);
  await eventually("on the server, too", async () => {
    return (await stage.server.read(repl, "main.py")) === kept;
  });
  await ada.page.getByRole("button", { name: "Undo" }).click();
  await bob.sees("the restore is taken back", (text) => text.includes("all gone"));
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test("a file plays keystroke by keystroke, by hand and by itself", async () => {
  const { ada, repl } = await typedByTwo();
  await sessions(ada).first().waitFor();
  await ada.page.getByRole("button", { name: "Play this file from the beginning" }).click();
  const { page } = ada;
  const slider = page.getByRole("slider", { name: "Position" });
  await slider.waitFor();
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Play", exact: true }).waitFor();
  await slider.focus();
  await page.keyboard.press("End");
  const text = await stage.server.read(repl, "main.py");
  await ada.sees("the end is the present", (shown) => shown === text);
  assert.match(await slider.getAttribute("aria-valuetext"), /Bob$/);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await ada.sees("two keystrokes back", (shown) => shown.startsWith("# from Bo# from Ada\n"));
  await page.keyboard.press("Home");
  await ada.sees("the beginning", (shown) => shown === "");
  await page.getByRole("radio", { name: "64×" }).click();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await ada.sees("it has played to the end", (shown) => shown === text);
  assert.equal(await page.locator(".cm-author[title=Bob]").count(), 1);
  await ada.shoot("history-playback");
  assert.deepEqual(ada.errors, []);
});

test("the lines say who wrote them, also after an edit", async () => {
  const { ada, bob } = await typedByTwo();
  await ada.page.getByRole("button", { name: "Show who wrote each line" }).click();
  const names = () => ada.page.locator(".cm-blame-name").allTextContents();
  await eventually("Bob wrote the first line", async () => (await names())[1] === "Bob");
  await ada.shoot("history-blame");
  await bob.typeAtEnd("# the last line");
  await eventually("Bob wrote the last line", async () => (await names()).at(-1) === "Bob");
  assert.deepEqual(ada.errors, []);
});

test("a viewer sees the past and changes nothing", async () => {
  const { repl } = await typedByTwo();
  const vera = await stage.guestOn(repl, "viewer", "Vera");
  await vera.open("main.py");
  await vera.page.getByRole("button", { name: "History", exact: true }).click();
  await sessions(vera).first().click();
  const restore = vera.page.getByRole("button", { name: "Restore this version" });
  await restore.waitFor();
  assert.equal(await restore.getAttribute("aria-disabled"), "true");
});

test("a checkpoint brings the whole repl back, and the way it was before, too", async () => {
  const { person: ada, repl } = await stage.ownerOn();
  const { page } = ada;
  const { server } = stage;
  const before = await server.read(repl, "main.py");
  await page.getByRole("button", { name: "History", exact: true }).click();
  await page.getByRole("radio", { name: "Checkpoints" }).click();
  await page.getByText("No checkpoints yet").waitFor();
  await page.getByLabel("Name of the checkpoint").fill("All is well");
  await page.getByRole("button", { name: "Make a checkpoint" }).click();
  const list = page.getByRole("list", { name: "Checkpoints" });
  await list.getByText("All is well").waitFor();
  await ada.typeAtStart("# a mistake\n");
  await server.write(repl, "later.txt", "made later\n");
  await server.api("DELETE", `/repls/${repl}/files/README.md`);
  await page.getByRole("button", { name: "Actions for All is well" }).click();
  await page.getByRole("menuitem", { name: "Restore…" }).click();
  await page.getByRole("dialog").getByText("All files go back").waitFor();
  await ada.shoot("history-confirm");
  await page.getByRole("button", { name: "Restore all files" }).click();
  await ada.sees("the mistake is gone", (text) => !text.includes("mistake"));
  await eventually("all files are as they were", async () => {
    const [text, readme, later] = await Promise.all([
      server.read(repl, "main.py"),
      server.read(repl, "README.md").catch(() => null),
      server.read(repl, "later.txt").catch(() => null),
    ]);
    return text === before && readme !== null && later === null;
  });
  await list.getByText("Automatic, before a restore").waitFor();
  await ada.shoot("history-checkpoints");
  await page.getByRole("button", { name: "Undo" }).click();
  await ada.sees("the mistake is back", (text) => text.includes("# a mistake"));
  await eventually("and so is the later file", async () => {
    return (await server.read(repl, "later.txt").catch(() => null)) === "made later\n";
  });
});
