// A browser and a server for one file of tests, and the people who come in each test.
import { after, afterEach, before, beforeEach } from "node:test";

import { Server } from "../server.mjs";
import { launchBrowser, Person } from "./person.mjs";

export class Stage {
  people = [];

  /** Registers the hooks of a test file. */
  static set(options = { idleGrace: "5m" }) {
    const stage = new Stage();
    before(async () => {
      stage.browser = await launchBrowser();
      stage.server = await Server.start(options);
    });
    after(async () => {
      await stage.browser?.close();
      await stage.server?.stop();
    });
    beforeEach(() => {
      stage.people = [];
    });
    afterEach((context) => stage.clear(context));
    return stage;
  }

  async clear(context) {
    for (const [index, person] of this.people.entries()) {
      const name = `failed-${context.name.replaceAll(/\W+/g, "-")}-${index}`;
      if (context.passed === false) await person.shoot(name).catch(() => {});
      await person.context.close();
    }
    if (context.passed === false) console.error(this.server.log.split("\n").slice(-40).join("\n"));
  }

  async owner(options) {
    const person = await Person.arrive(this.browser, this.server.link, options);
    this.people.push(person);
    await person.page
      .getByRole("button", { name: "New repl" })
      .or(person.page.getByText("Start your first repl"))
      .first()
      .waitFor();
    return person;
  }

  /** The owner on a repl's page, a new one unless told, with a file in the editor. */
  async ownerOn({ template = "python", file = "main.py", repl } = {}) {
    const id = repl ?? (await this.server.create(template));
    const person = await this.owner();
    await person.goto(`${this.server.url}/r/${id}`);
    await person.open(file);
    return { person, repl: id };
  }

  async guestOn(repl, role, name, options) {
    const link = await this.server.share(repl, role);
    const person = await Person.arrive(this.browser, link.url, { name, ...options });
    this.people.push(person);
    await person.tree.waitFor();
    return person;
  }
}
