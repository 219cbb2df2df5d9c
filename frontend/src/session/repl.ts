/**
 * One repl's page: the one socket with every document, folder and the live state on it, and
 * what is true over all of them: connection, durability, people.
 */
import type { FileId, LiveState, Me, MemberId, ReplId, Role, TreeEntry } from "@/gen/api";
import { decode, encode, fileAddress, folderAddress, LIVE_ADDRESS } from "@/wire/codec";
import { MalformedFrame, PING_FRAME, PONG_FRAME, SUBPROTOCOL } from "@/wire/codec";
import { ReconnectingSocket, type SocketState, webSocketUrl } from "@/wire/socket";
import type { Channel, Send } from "./channel";
import type { OpenDocument, OpenFolder, ReplOptions, ReplPage } from "./contract";
import { DocumentSession } from "./document";
import { FolderSession } from "./folder";
import { BrowserKeptStore, type KeptStore } from "./kept";
import type { Durability, ReplSnapshot, RescuedText } from "./model";
import { State } from "./observable";
import { SharedMap } from "./shared";
import { Whereabouts } from "./whereabouts";

/** How often numbers in the durability state may change on the screen. */
const DURABILITY_MS = 150;
/** A document stays subscribed this long after nothing shows it, so that switching is instant. */
const LINGER_MS = 10_000;
/** Edits that wait so long may have to wait for days. */
const LONG_UNSAVED_MS = 60_000;
/** How often it looks for edits that another tab, closed meanwhile, did not get to the server. */
const LEFT_MS = 30_000;

interface Held<T> {
  session: T;
  holders: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

const EMPTY_LIVE: LiveState = {
  sandbox: { state: "off" },
  terminals: [],
  ports: [],
  run: null,
  people: [],
  usage: null,
  durability: { blob_store_error: null, log_error: null },
  tasks: [],
  notices: [],
};

export class ReplSession implements ReplPage {
  readonly repl: ReplId;
  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => ReplSnapshot;
  private readonly state: State<ReplSnapshot>;
  private role: Role;
  private readonly kept: KeptStore;
  private readonly socket: ReconnectingSocket;
  private readonly channels = new Map<string, Channel>();
  private readonly documents = new Map<FileId, Held<DocumentSession>>();
  private readonly folders = new Map<FileId, Held<FolderSession>>();
  private readonly whereabouts: Whereabouts;
  private readonly live: SharedMap;
  private person: Me;
  private online = false;
  private typed = false;
  private askedToKeep = false;
  private durabilityTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly leftTimer: ReturnType<typeof setInterval>;
  private readonly waiters = new Set<() => void>();

  constructor(options: ReplOptions, kept?: KeptStore) {
    this.repl = options.repl;
    this.person = options.me;
    this.role = options.role;
    this.state = new State<ReplSnapshot>({
      connection: { state: "connecting", attempt: 0 },
      role: options.role,
      live: null,
      durability: { state: "idle" },
      presence: [],
      following: null,
      rescued: [],
    });
    this.subscribe = this.state.subscribe;
    this.getSnapshot = this.state.getSnapshot;
    this.kept = kept ?? new BrowserKeptStore(() => this.durabilityChanged());
    const sendLive = this.sender(LIVE_ADDRESS);
    this.whereabouts = new Whereabouts(options.me, sendLive, () =>
      this.change({ presence: this.whereabouts.list() }),
    );
    this.live = this.openLive(sendLive);
    this.channels.set(LIVE_ADDRESS, this.live);
    globalThis.addEventListener?.("pagehide", this.onHide);
    globalThis.document?.addEventListener("visibilitychange", this.onHide);
    this.socket = new ReconnectingSocket({
      url: () => webSocketUrl(`/api/v1/repls/${encodeURIComponent(this.repl)}/live`),
      protocol: SUBPROTOCOL,
      probe: PING_FRAME,
      onOpen: () => this.onOpen(),
      onBinary: (bytes) => this.onFrame(bytes),
      onState: (state) => this.onSocketState(state),
    });
    void this.recover();
    this.leftTimer = setInterval(() => {
      if (this.online) void this.takeLeft();
    }, LEFT_MS);
  }

  get me(): Me {
    return this.person;
  }

  openDocument(file: FileId, path: string): OpenDocument {
    const held = this.holdDocument(file, path);
    return {
      file,
      subscribe: held.session.state.subscribe,
      getSnapshot: held.session.state.getSnapshot,
      moved: (path) => held.session.moved(path),
      release: this.releaseOnce(held, () => this.maybeDropDocument(file)),
    };
  }

  openFolder(folder: FileId): OpenFolder {
    let held = this.folders.get(folder);
    if (!held) {
      const address = folderAddress(folder);
      const session = new FolderSession(folder, this.sender(address), (entries) =>
        this.noticeMoves(entries),
      );
      held = { session, holders: 0, timer: undefined };
      this.folders.set(folder, held);
      this.join(address, session.channel);
    }
    this.hold(held);
    const { session } = held;
    return {
      folder,
      subscribe: session.state.subscribe,
      getSnapshot: session.state.getSnapshot,
      release: this.releaseOnce(held, () => {
        this.folders.delete(folder);
        this.channels.delete(folderAddress(folder));
        session.dispose();
      }),
    };
  }

  acknowledged(limitMs: number): Promise<void> {
    for (const { session } of this.documents.values()) session.flush();
    if (this.unsaved() === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.waiters.delete(check);
        settle();
      };
      const check = () => {
        if (this.unsaved() === null) done(resolve);
        else if (this.getSnapshot().connection.state === "refused") {
          done(() => reject(new Error("The connection was refused.")));
        }
      };
      const timer = setTimeout(
        () => done(() => reject(new Error("The server has not confirmed the last edits."))),
        limitMs,
      );
      this.waiters.add(check);
    });
  }

  showFile(file: FileId | null): void {
    this.whereabouts.show(file);
  }

  follow(member: MemberId | null): void {
    this.change({ following: member });
  }

  rename(me: Me): void {
    this.person = me;
    this.whereabouts.introduce(me);
    for (const { session } of this.documents.values()) session.introduce(me);
  }

  reconnect(): void {
    this.socket.reconnect();
  }

  dismissRescued(id: string): void {
    this.kept.removeRescued(id);
    this.change({ rescued: this.getSnapshot().rescued.filter((text) => text.id !== id) });
  }

  close(): void {
    globalThis.removeEventListener?.("pagehide", this.onHide);
    globalThis.document?.removeEventListener("visibilitychange", this.onHide);
    clearTimeout(this.durabilityTimer);
    clearInterval(this.leftTimer);
    for (const { session, timer } of this.documents.values()) {
      clearTimeout(timer);
      session.dispose();
    }
    for (const { session, timer } of this.folders.values()) {
      clearTimeout(timer);
      session.dispose();
    }
    this.documents.clear();
    this.folders.clear();
    this.whereabouts.dispose();
    this.live.dispose();
    this.kept.close();
    this.channels.clear();
    this.socket.close();
  }

  // --- the socket ---

  private onOpen(): void {
    this.online = true;
    for (const channel of this.channels.values()) channel.connected();
    this.whereabouts.connected();
    void this.takeLeft();
  }

  private onFrame(bytes: Uint8Array): void {
    try {
      const frame = decode(bytes);
      if (frame.type === "ping") this.socket.send(PONG_FRAME);
      else if (frame.type === "message") this.channels.get(frame.address)?.receive(frame.message);
    } catch (error) {
      if (!(error instanceof MalformedFrame)) throw error;
      this.socket.abandon("The server sent something unreadable.");
    }
  }

  private onSocketState(connection: SocketState): void {
    if (this.online && connection.state !== "open") {
      this.online = false;
      for (const channel of this.channels.values()) channel.disconnected();
      this.whereabouts.disconnected();
    }
    this.change({ connection });
    for (const check of [...this.waiters]) check();
  }

  private sender(address: string): Send {
    return (message) => this.online && this.socket.send(encode(address, message));
  }

  private join(address: string, channel: Channel): void {
    this.channels.set(address, channel);
    if (this.online) channel.connected();
  }

  // --- documents ---

  private holdDocument(file: FileId, path: string): Held<DocumentSession> {
    let held = this.documents.get(file);
    if (held?.session.state.getSnapshot().state === "unavailable" && held.holders === 0) {
      this.dropDocument(file, held);
      held = undefined;
    }
    if (!held) {
      const address = fileAddress(file);
      const session = new DocumentSession({
        repl: this.repl,
        file,
        path,
        me: this.person,
        readOnly: this.role === "viewer",
        kept: this.kept,
        send: this.sender(address),
        onDurability: () => this.durabilityChanged(),
        onRescued: (text) => this.addRescued(text),
      });
      held = { session, holders: 0, timer: undefined };
      this.documents.set(file, held);
      this.join(address, session);
    }
    this.hold(held);
    return held;
  }

  private hold(held: Held<unknown>): void {
    clearTimeout(held.timer);
    held.timer = undefined;
    held.holders += 1;
  }

  private releaseOnce(held: Held<unknown>, drop: () => void): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      held.holders -= 1;
      if (held.holders > 0) return;
      held.timer = setTimeout(drop, LINGER_MS);
    };
  }

  /** Lets go of a document nobody shows, once all its edits are in the blob store. */
  private maybeDropDocument(file: FileId): void {
    const held = this.documents.get(file);
    if (!held || held.holders > 0) return;
    if (held.session.isSettled) this.dropDocument(file, held);
    else held.timer = setTimeout(() => this.maybeDropDocument(file), LINGER_MS);
  }

  private dropDocument(file: FileId, held: Held<DocumentSession>): void {
    clearTimeout(held.timer);
    this.documents.delete(file);
    this.channels.delete(fileAddress(file));
    held.session.dispose();
  }

  /** Takes up what earlier pages of this browser left: texts set aside, and edits to be sent. */
  private async recover(): Promise<void> {
    const rescued = await this.kept.listRescued(this.repl);
    if (rescued.length > 0) {
      const known = new Set(this.getSnapshot().rescued.map((text) => text.id));
      const fresh = rescued.filter((text) => !known.has(text.id));
      this.change({ rescued: [...fresh, ...this.getSnapshot().rescued] });
    }
    await this.takeLeft();
  }

  /** Opens every document that a page which is gone left edits of, so that they are sent. */
  private async takeLeft(): Promise<void> {
    this.kept.dropCleanStates(this.repl);
    for (const { guid, path } of await this.kept.list(this.repl)) {
      if (this.socket.current.state === "closed") return;
      const open = this.documents.get(guid);
      if (open) await open.session.takeLeft();
      else this.openDocument(guid, path).release();
    }
  }

  private noticeMoves(entries: readonly TreeEntry[]): void {
    for (const { id, name } of entries) {
      const session = this.documents.get(id)?.session;
      const path = session?.state.getSnapshot().path;
      session?.appeared();
      if (!session || !path) continue;
      // The folder's own path is the tree's business; here only the last part is known to change.
      session.moved(path.slice(0, path.lastIndexOf("/") + 1) + name);
    }
  }

  private addRescued(text: RescuedText): void {
    this.change({ rescued: [...this.getSnapshot().rescued, text] });
  }

  private readonly onHide = () => {
    for (const { session } of this.documents.values()) session.flush();
  };

  // --- what is true over all documents ---

  private openLive(send: Send): SharedMap {
    return new SharedMap({
      root: "live",
      send,
      onChange: (keys) => {
        const live: Record<string, unknown> = { ...(this.getSnapshot().live ?? EMPTY_LIVE) };
        for (const key of keys) {
          const value = this.live.get(key);
          if (value === undefined) live[key] = EMPTY_LIVE[key as keyof LiveState];
          else live[key] = value;
        }
        this.change({ live: live as unknown as LiveState });
        if (keys.has("people")) this.noticeRole();
      },
      onSynced: (synced) => {
        if (synced && this.getSnapshot().live === null) this.change({ live: EMPTY_LIVE });
      },
      onClosed: () => undefined,
      onAwareness: (update) => this.whereabouts.receive(update),
    });
  }

  /** Rights may change while the page is open: the server's list of people says so. */
  private noticeRole(): void {
    const role = this.getSnapshot().live?.people.find(
      ({ member }) => member === this.person.member,
    )?.role;
    if (role === undefined || role === this.role) return;
    this.role = role;
    this.change({ role });
    for (const { session } of this.documents.values()) session.allowEdits(role !== "viewer");
  }

  private unsaved(): { edits: number; since: number } | null {
    let edits = 0;
    let since = Infinity;
    for (const { session } of this.documents.values()) {
      const waiting = session.unsaved();
      if (!waiting) continue;
      edits += waiting.edits;
      since = Math.min(since, waiting.since);
    }
    return edits === 0 ? null : { edits, since };
  }

  private durabilityChanged(): void {
    for (const check of [...this.waiters]) check();
    if (this.durabilityTimer !== undefined) return;
    this.durabilityTimer = setTimeout(() => {
      this.durabilityTimer = undefined;
      this.change({ durability: this.durability() });
    }, DURABILITY_MS);
  }

  private durability(): Durability {
    const unsaved = this.unsaved();
    if (unsaved) {
      this.typed = true;
      if (Date.now() - unsaved.since > LONG_UNSAVED_MS) this.keepForLong();
      return { state: "unsaved", ...unsaved, keptLocally: this.kept.working };
    }
    const states = new Set([...this.documents.values()].map(({ session }) => session.durability()));
    const shown: Durability["state"] = states.has("on-disk")
      ? "on-disk"
      : states.has("stored") || this.typed
        ? "stored"
        : "idle";
    if (shown !== "idle") this.typed = true;
    const before = this.getSnapshot().durability;
    return before.state === shown ? before : ({ state: shown } as Durability);
  }

  /** Asks the browser not to clear what is kept when it is short of space. */
  private keepForLong(): void {
    if (this.askedToKeep) return;
    this.askedToKeep = true;
    // There is no such thing on plain http; refused, it is as good as before.
    globalThis.navigator?.storage?.persist?.().catch(() => undefined);
  }

  private change(part: Partial<ReplSnapshot>): void {
    this.state.set({ ...this.state.getSnapshot(), ...part });
  }
}
