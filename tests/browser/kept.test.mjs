// What a browser keeps until it is backed up: crashes, several tabs, long absences, and servers
// whose data was set back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../server.mjs";
import { Person, Profile } from "./person.mjs";
import { Stage } from "./stage.mjs";

const stage = Stage.set();
const times = (text, part) => text.split(part).length - 1;

test("edits that reached nobody survive the kill of the browser", async () => {
  const { server } = stage;
  const profile = new Profile();
  try {
    const repl = await server.create("python");
    const person = new Person();
    person.context = await profile.launch();
    await person.newTab();
    await person.goto(server.link);
    await person.page
      .getByRole("link", { name: /Python/ })
      .first()
      .waitFor();
    await person.goto(`${server.url}/r/${repl}`);
    await person.open("main.py");
    await person.saved();
    await server.kill();
    await person.typeAtEnd("# only in this browser");
    await person.page.getByText("22 edits not on the server yet").waitFor();
    await eventually("all are kept", async () => (await person.keptEdits()) === 22);
    await person.shoot("unsent");
    profile.kill();
    await server.launch();
    const before = await server.read(repl, "main.py");
    assert.equal(times(before, "# only in this browser"), 0);

    const again = new Person();
    again.context = await profile.launch();
    await again.newTab();
    // Cookies reach the disk later than what is kept.
    await again.goto(server.link);
    await again.page
      .getByRole("link", { name: /Python/ })
      .first()
      .waitFor();
    await again.goto(`${server.url}/r/${repl}`);
    await eventually("the server has it", async () => {
      const text = await server.read(repl, "main.py");
      return text === `${before}# only in this browser`;
    });
    await again.page.getByText("Backed up").waitFor();
    await eventually("nothing is kept any more", async () => (await again.keptEdits()) === 0);
  } finally {
    await profile.remove();
  }
});

test("two tabs of one browser: each edit once, whatever is reloaded or closed", async () => {
  const { server } = stage;
  const { person: first, repl } = await stage.ownerOn();
  const second = await first.secondTab();
  await second.goto(`${server.url}/r/${repl}`);
  await second.open("main.py");
  await first.saved();
  await server.kill();
  await first.typeAtEnd("# of the first tab\n");
  await second.typeAtStart("# of the second tab\n");
  await second.page.getByText(/edits not on the server yet/).waitFor();
  await eventually("both are kept", async () => (await first.keptEdits()) === 39);
  await server.launch();
  await Promise.all([first.page.reload(), second.page.reload()]);
  const both = (text) =>
    times(text, "# of the first tab") === 1 && times(text, "# of the second tab") === 1;
  await first.sees("both edits", both, 30_000);
  await second.sees("both edits", both, 30_000);
  assert.equal(await first.text(), await second.text());
  assert.ok(both(await server.read(repl, "main.py")));
  await first.page.getByText("Backed up").waitFor();
  await eventually("nothing is kept any more", async () => (await first.keptEdits()) === 0);

  // One tab is closed while nobody answers; the other one brings its edits.
  await server.kill();
  await second.typeAtEnd("# before the tab was closed\n");
  await eventually("they are kept", async () => (await first.keptEdits()) === 28);
  await second.page.close();
  await server.launch();
  await first.sees("the closed tab's edits", (text) => text.includes("tab was closed"), 60_000);
  assert.equal(times(await server.read(repl, "main.py"), "# before the tab was closed"), 1);
});

test("a browser that was away for a week merges", async () => {
  const { server } = stage;
  const { person: ada, repl } = await stage.ownerOn();
  await ada.saved();
  await ada.context.setOffline(true);
  await ada.typeAtEnd("# typed a week ago\n");
  await ada.page.getByText(/edits not on the server yet/).waitFor();
  const bob = await stage.guestOn(repl, "editor", "Bob");
  await bob.open("main.py");
  for (let round = 0; round < 3; round++) {
    await bob.typeAtStart(`# round ${round}\n`);
    await bob.page.getByText("Backed up").waitFor();
    // Stopped in order: everything is compacted, and the log is let go.
    await server.stop({ keepFolder: true });
    await server.launch();
    await bob.page.getByText("Connected", { exact: true }).waitFor();
  }
  await ada.context.setOffline(false);
  const all = (text) =>
    ["# typed a week ago", "# round 0", "# round 1", "# round 2"].every(
      (part) => times(text, part) === 1,
    );
  await ada.sees("everything", all, 60_000);
  await bob.sees("everything", all, 30_000);
  assert.equal(await ada.text(), await bob.text());
});

test("a server set back to an older copy gets everything again, and nothing twice", async () => {
  const { server } = stage;
  const person = await stage.owner();
  const repl = await server.create("python");
  await server.kill();
  server.keepCopy();
  await server.launch();
  await person.goto(`${server.url}/r/${repl}`);
  await person.open("main.py");
  await person.typeAtEnd("# typed after the copy\n");
  await person.page.getByText("Backed up").waitFor();
  const text = await server.read(repl, "main.py");
  await server.kill();
  server.putCopyBack();
  await server.launch();
  await eventually("the server has it again", async () => {
    const again = await server.read(repl, "main.py");
    return again === text;
  });
  assert.equal(await person.text(), text);
});

test("another history of a file never mixes in, and what was typed can be put back", async () => {
  const { server } = stage;
  const person = await stage.owner();
  const repl = await server.create("python");
  await server.write(repl, "main.py", "print('older')\n");
  await server.kill();
  server.keepCopy();
  await server.launch();
  await server.write(repl, "main.py", "print('newer')\n");
  await person.goto(`${server.url}/r/${repl}`);
  await person.open("main.py");
  await person.sees("the newer text", (text) => text.includes("newer"));
  await person.typeAtEnd("# typed, and backed up once\n");
  await person.page.getByText("Backed up").waitFor();
  await server.kill();
  server.putCopyBack();
  await server.launch();
  await person.sees("the older text alone", (text) => text === "print('older')\n", 30_000);
  await person.page.getByText("Text from main.py was kept").waitFor();
  await person.page.getByRole("button", { name: "Compare" }).click();
  await person.page.getByText("1 difference").waitFor();
  await person.shoot("rescued");
  await person.page.getByRole("button", { name: "Use this text" }).click();
  await person.page.getByText("Text from main.py was kept").waitFor({ state: "hidden" });
  await person.sees(
    "the text is back",
    (text) => text === "print('newer')\n# typed, and backed up once\n",
  );
  assert.equal(await server.read(repl, "main.py"), "print('newer')\n# typed, and backed up once\n");
});
