// Starts the real `tandem serve` for tests written in JavaScript, on a free port and empty folders.
// TANDEM_BIN names another program than target/debug/tandem.
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const TOKEN = "owner-token-of-the-tests-0123456789";
/** Everything that outlives a server, in its folder. */
const STORED = ["data", "blobs"];
const repository = fileURLToPath(new URL("..", import.meta.url));

/** Asks again and again until `attempt` gives something true; fails after `limit` milliseconds. */
export async function eventually(what, attempt, limit = 20_000) {
  const until = Date.now() + limit;
  let last;
  for (;;) {
    try {
      last = await attempt();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until)
      throw new Error(`waited ${limit} ms until ${what}; last: ${last}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Makes a folder the same as another, owners and modes as well. */
function replace(folder, by) {
  rmSync(folder, { recursive: true, force: true });
  execFileSync("cp", ["-a", by, folder]);
}

export class Server {
  #child;
  #ended;
  #lines = [];
  token = TOKEN;
  port = 0;

  static async start(options = {}) {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), "tandem-test-"));
    // A server started as root goes on as an ordinary user, who must get at its folders.
    chmodSync(server.folder, 0o755);
    mkdirSync(join(server.folder, "blobs"));
    chmodSync(join(server.folder, "blobs"), 0o777);
    server.args = options.args ?? [];
    server.grace = options.idleGrace ?? "10m";
    await server.launch();
    return server;
  }

  async launch() {
    const program = process.env.TANDEM_BIN ?? join(repository, "target/debug/tandem");
    if (!existsSync(program))
      throw new Error(`${program} is not built: run \`cargo build --workspace --bins\` first`);
    this.#child = spawn(
      program,
      [
        "serve",
        "--no-open",
        ...["--listen", `127.0.0.1:${this.port}`],
        ...["--data-dir", join(this.folder, "data")],
        ...["--blob-store", `file://${join(this.folder, "blobs")}`],
        ...["--idle-grace", this.grace],
        ...this.args,
      ],
      { env: { ...process.env, TANDEM_TOKEN: TOKEN }, stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#ended = new Promise((resolve) => this.#child.once("exit", (code) => resolve(code)));
    const keep = (line) => {
      this.#lines.push(line);
      if (this.#lines.length > 400) this.#lines.shift();
    };
    createInterface({ input: this.#child.stderr }).on("line", keep);
    const listening = new Promise((resolve) => {
      createInterface({ input: this.#child.stdout }).on("line", (line) => {
        keep(line);
        const match = /^listening on http:\/\/.*:(\d+)\/?$/.exec(line.trim());
        if (match) resolve(Number(match[1]));
      });
    });
    const ended = this.#ended.then((code) => {
      throw new Error(`tandem ended with ${code}; it said:\n${this.log}`);
    });
    ended.catch(() => {});
    this.port = await Promise.race([listening, ended]);
    await eventually("/readyz answers 200", async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  get url() {
    return `http://localhost:${this.port}`;
  }

  /** The printed link's address, which opens the product. */
  get link() {
    return `${this.url}/#token=${TOKEN}`;
  }

  get log() {
    return this.#lines.join("\n");
  }

  /** Process id of the server itself, which is not the launcher that may have been started. */
  get pid() {
    const suffix = `:${this.port.toString(16).toUpperCase().padStart(4, "0")}`;
    const row = readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .find((columns) => columns[1]?.endsWith(suffix) && columns[3] === "0A");
    const socket = `socket:[${row[9]}]`;
    const holders = readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        return readdirSync(`/proc/${pid}/fd`).some((fd) => {
          try {
            return readlinkSync(`/proc/${pid}/fd/${fd}`) === socket;
          } catch {
            return false;
          }
        });
      } catch {
        return false;
      }
    });
    return Math.max(...holders.map(Number));
  }

  /** Ends the server as a power cut ends its process. */
  async kill() {
    process.kill(this.pid, "SIGKILL");
    await this.#ended;
  }

  async stop({ keepFolder = false } = {}) {
    this.#child.kill("SIGTERM");
    const code = await this.#ended;
    if (!keepFolder) rmSync(this.folder, { recursive: true, force: true });
    return code;
  }

  /** What a backup of everything would hold; only while it is down. */
  keepCopy() {
    for (const name of STORED) replace(`${this.folder}/${name}.copy`, `${this.folder}/${name}`);
  }

  /** Restores the copy, as an operator would after a loss; only while it is down. */
  putCopyBack() {
    for (const name of STORED) replace(`${this.folder}/${name}`, `${this.folder}/${name}.copy`);
  }

  async api(method, path, body, token = TOKEN) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined || typeof body === "string"
          ? {}
          : { "content-type": "application/json" }),
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  async create(template) {
    return (await (await this.api("POST", "/repls", { template })).json()).id;
  }

  static path(path) {
    return path.split("/").map(encodeURIComponent).join("/");
  }

  async read(repl, path) {
    return (await this.api("GET", `/repls/${repl}/files/${Server.path(path)}`)).text();
  }

  async write(repl, path, text) {
    await this.api("PUT", `/repls/${repl}/files/${Server.path(path)}`, text);
  }

  async share(repl, role) {
    return (await this.api("POST", `/repls/${repl}/links`, { role })).json();
  }

  async status(repl) {
    return (await this.api("GET", `/repls/${repl}/status`)).json();
  }
}
