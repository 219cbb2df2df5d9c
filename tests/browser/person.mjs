// One person with a browser of their own, and what a person does on the page.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

import { eventually } from "../server.mjs";

const output = fileURLToPath(new URL("../output/", import.meta.url));
const programs = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"];

const launching = () => ({
  executablePath: process.env.TANDEM_CHROMIUM ?? programs.find(existsSync),
  args: [
    ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
    ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  ],
});

export async function launchBrowser() {
  mkdirSync(output, { recursive: true });
  return chromium.launch(launching());
}

/** A browser that keeps everything in a folder, and can be killed like a process that crashes. */
export class Profile {
  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), "tandem-profile-"));
  }

  async launch() {
    this.context = await chromium.launchPersistentContext(this.folder, launching());
    return this.context;
  }

  /** SIGKILL to every process of it. */
  kill() {
    for (const pid of this.#pids()) process.kill(pid, "SIGKILL");
  }

  async remove() {
    await this.context?.close().catch(() => {});
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  #pids() {
    return readdirSync("/proc")
      .filter((pid) => /^\d+$/.test(pid))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(this.folder);
        } catch {
          return false;
        }
      })
      .map(Number);
  }
}

export class Person {
  /** Opens a link in a fresh browser context; gives a name when the page asks for one. */
  static async arrive(browser, link, { name, ...options } = {}) {
    const person = new Person();
    person.context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      ...options,
    });
    await person.newTab();
    await person.page.goto(link);
    if (name !== undefined) {
      await person.page.getByLabel("Name", { exact: true }).fill(name);
      await person.page.getByRole("button", { name: "Join" }).click();
    }
    return person;
  }

  /** The same person in another tab of the same browser. */
  async secondTab() {
    const other = new Person();
    other.context = this.context;
    await other.newTab();
    return other;
  }

  async newTab() {
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(20_000);
    this.errors = [];
    this.page.on("pageerror", (error) => this.errors.push(String(error)));
    this.page.on("console", (message) => {
      if (message.type() === "error") this.errors.push(message.text());
    });
  }

  /** Edits that this browser keeps until they are backed up, as numbers of transactions. */
  async keptEdits() {
    return this.page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const open = indexedDB.open("tandem");
          open.onerror = () => reject(open.error);
          open.onsuccess = () => {
            const rows = open.result.transaction("updates").objectStore("updates").getAll();
            rows.onerror = () => reject(rows.error);
            rows.onsuccess = () => {
              open.result.close();
              resolve(rows.result.reduce((sum, { edits }) => sum + edits, 0));
            };
          };
        }),
    );
  }

  async goto(address) {
    await this.page.goto(address);
  }

  get tree() {
    return this.page.getByRole("tree", { name: "Files of this repl" });
  }

  get code() {
    return this.page.locator(".cm-content").filter({ visible: true }).first();
  }

  get runButton() {
    return this.page.getByRole("banner").getByRole("button", { name: "Run", exact: true });
  }

  get stopButton() {
    return this.page.getByRole("banner").getByRole("button", { name: "Stop", exact: true });
  }

  /** A file's row; its name may be followed by who is there. */
  item(file) {
    const name = new RegExp(`^${file.replaceAll(".", "\\.")}(\\s|$)`);
    return this.tree.getByRole("treeitem", { name });
  }

  async open(file) {
    await this.item(file).click();
    await this.page.getByRole("tab", { name: file }).waitFor();
    await this.code.waitFor();
  }

  /** The text of the open editor, as far as it is drawn. */
  async text() {
    const lines = await this.code.locator(".cm-line").evaluateAll((all) =>
      all.map((line) => {
        const copy = line.cloneNode(true);
        // Carets and names of others are drawn inside the lines.
        for (const node of copy.querySelectorAll(
          "[class*=caret], [class*=Caret], [class*=widget], .cm-widgetBuffer, img",
        ))
          node.remove();
        return copy.textContent.replaceAll("\u2060", "").replaceAll("\u200b", "");
      }),
    );
    return lines.join("\n");
  }

  async typeAtEnd(text, options) {
    await this.code.click();
    await this.page.keyboard.press("Control+End");
    await this.page.keyboard.type(text, options);
  }

  async typeAtStart(text, options) {
    await this.code.click();
    await this.page.keyboard.press("Control+Home");
    await this.page.keyboard.type(text, options);
  }

  async sees(what, holds, limit) {
    let text = "";
    try {
      await eventually(what, async () => holds((text = await this.text())), limit);
    } catch (error) {
      throw new Error(`${error.message}; the editor shows ${JSON.stringify(text)}`, {
        cause: error,
      });
    }
    return text;
  }

  /** Everything the visible terminals show. */
  async terminalText() {
    const rows = await this.page.locator(".xterm-rows > div").allTextContents();
    return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd()).join("\n");
  }

  async terminalShows(text, limit) {
    let shown = "";
    try {
      await eventually(
        `a terminal shows ${text}`,
        async () => (shown = await this.terminalText()).includes(text),
        limit,
      );
    } catch (error) {
      throw new Error(`${error.message}; it shows ${JSON.stringify(shown)}`, { cause: error });
    }
  }

  async shell() {
    await this.page.getByRole("button", { name: "New shell" }).first().click();
    await this.page.locator(".xterm").first().click();
  }

  /** Waits until the status bar says that all is safe on the server's disk. */
  async saved() {
    await this.page
      .getByText(/^(On disk|Backed up|All saved)$/)
      .or(this.page.getByLabel(/On disk|Backed up|All saved/))
      .first()
      .waitFor();
  }

  async shoot(name) {
    await this.page.screenshot({ path: `${output}${name}.png` });
  }
}
