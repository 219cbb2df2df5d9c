/**
 * One terminal's socket: raw bytes both ways, their absolute offset, and who sets the size.
 * Output is never lost or doubled: a reconnect asks for what follows the last byte received.
 */
import type { MemberId, TerminalClientMessage, TerminalServerMessage } from "@/gen/api";
import { ReconnectingSocket, type SocketState, webSocketUrl } from "@/wire/socket";
import type { TerminalOptions, TerminalSnapshot, TerminalState } from "./contract";
import { State } from "./observable";

/** Acknowledge at least this often, well inside the server's window. */
const ACK_BYTES = 16 * 1024;
/** And what is left over after this time: a viewer that says nothing counts as stalled. */
const ACK_MS = 250;
/** A pasted book goes out in pieces, so that Ctrl+C can follow it. */
const INPUT_BYTES = 32 * 1024;
/** A closing room ends its terminals with the code of a withdrawn right: ask again a few times. */
const FORBIDDEN_RETRIES = 5;
const FORBIDDEN_RETRY_MS = 2_000;

export interface TerminalSessionOptions extends Pick<
  TerminalOptions,
  "repl" | "terminal" | "me" | "readOnly"
> {
  /** Output; `end` is the offset after it. Call `drawn(end)` when it is on the screen. */
  onOutput: (bytes: Uint8Array, end: number) => void;
  /** The screen must be cleared, and `prelude` (modes in force) drawn, before the next output. */
  onReset: (prelude: string) => void;
}

interface Size {
  cols: number;
  rows: number;
}

export class TerminalSession {
  readonly state: State<TerminalSnapshot>;
  private readonly options: TerminalSessionOptions;
  private readonly socket: ReconnectingSocket;
  private received = 0;
  private drawnTo = 0;
  private acked = 0;
  private ackTimer: ReturnType<typeof setTimeout> | undefined;
  private size: Size | null = null;
  /** This tab asked to set the size, and nobody else did since. */
  private claimed = false;
  private driverKnown = false;
  private forbidden = 0;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: TerminalSessionOptions) {
    this.options = options;
    this.state = new State<TerminalSnapshot>({
      connection: { state: "connecting" },
      cols: 80,
      rows: 24,
      driver: null,
      driving: false,
      exit: null,
    });
    const path = `/api/v1/repls/${encodeURIComponent(options.repl)}/terminals/${encodeURIComponent(options.terminal)}/ws`;
    this.socket = new ReconnectingSocket({
      url: () => webSocketUrl(`${path}?from=${this.received}`),
      onOpen: () => this.onOpen(),
      onBinary: (bytes) => this.onBinary(bytes),
      onText: (text) => this.onText(text),
      onState: (state) => this.onState(state),
    });
  }

  /** Sends input; dropped while there is no connection, because a shell must not receive
   *  seconds later what was typed blindly. Returns whether it went out. */
  send(bytes: Uint8Array): boolean {
    if (this.options.readOnly) return false;
    for (let at = 0; at < bytes.length; at += INPUT_BYTES) {
      if (!this.socket.send(bytes.slice(at, at + INPUT_BYTES))) return false;
    }
    return true;
  }

  /** Everything before `offset` is on the screen. */
  drawn(offset: number): void {
    this.drawnTo = Math.max(this.drawnTo, offset);
    if (this.drawnTo - this.acked >= ACK_BYTES) this.acknowledge();
    else this.ackTimer ??= setTimeout(() => this.acknowledge(), ACK_MS);
  }

  /** This box has room for so much; it becomes everybody's size when this tab drives. */
  fit(size: Size): void {
    this.size = size;
    const { driving, cols, rows } = this.state.getSnapshot();
    if (!driving || cols !== size.cols || rows !== size.rows) this.tellSize(driving);
  }

  drive(): void {
    this.tellSize(true);
  }

  close(): void {
    clearTimeout(this.ackTimer);
    clearTimeout(this.retryTimer);
    this.socket.close();
  }

  private onState(state: SocketState): void {
    this.change({ connection: connectionOf(state) });
    if (state.state !== "refused" || state.reason !== "forbidden") return;
    this.forbidden += 1;
    if (this.forbidden > FORBIDDEN_RETRIES) return;
    this.retryTimer = setTimeout(() => this.socket.reconnect(), FORBIDDEN_RETRY_MS);
  }

  private onOpen(): void {
    this.driverKnown = false;
    this.acked = this.drawnTo;
    // After a reconnect the size is claimed again by whoever had it.
    if (this.size) this.tellSize(this.claimed);
  }

  private onBinary(bytes: Uint8Array): void {
    this.forbidden = 0;
    this.received += bytes.length;
    this.options.onOutput(bytes, this.received);
  }

  private onText(text: string): void {
    const message = parse(text);
    if (message === null) return;
    switch (message.type) {
      case "reset":
        this.received = message.offset;
        this.drawnTo = message.offset;
        this.acked = message.offset;
        this.options.onReset(message.prelude);
        return;
      case "resize":
        return this.onResize(message.cols, message.rows, message.driver);
      case "exit": {
        const { code, signal, duration_ms: durationMs } = message.exit;
        this.change({ exit: { code, signal, durationMs }, driving: false });
        return;
      }
    }
  }

  private onResize(cols: number, rows: number, driver: MemberId | null): void {
    const mine = driver === this.options.me;
    const ours = this.size?.cols === cols && this.size.rows === rows;
    // A member may have several tabs: the one whose size is in force drives.
    const driving = mine && this.claimed && ours;
    if (!mine) this.claimed = false;
    this.change({ cols, rows, driver, driving });
    const first = !this.driverKnown;
    this.driverKnown = true;
    if (this.options.readOnly || driving || !first) return;
    // Nobody drives, or this person did before a reload: take the wheel.
    if (driver === null || mine) this.drive();
  }

  private tellSize(drive: boolean): void {
    if (this.size === null || this.options.readOnly) return;
    if (drive) this.claimed = true;
    const { cols, rows } = this.size;
    this.say({ type: "resize", cols, rows, drive });
  }

  private acknowledge(): void {
    clearTimeout(this.ackTimer);
    this.ackTimer = undefined;
    if (this.drawnTo === this.acked) return;
    if (this.say({ type: "ack", offset: this.drawnTo })) this.acked = this.drawnTo;
  }

  private say(message: TerminalClientMessage): boolean {
    return this.socket.send(JSON.stringify(message));
  }

  private change(part: Partial<TerminalSnapshot>): void {
    this.state.set({ ...this.state.getSnapshot(), ...part });
  }
}

function parse(text: string): TerminalServerMessage | null {
  try {
    return JSON.parse(text) as TerminalServerMessage;
  } catch {
    return null;
  }
}

function connectionOf(state: SocketState): TerminalState {
  switch (state.state) {
    case "connecting":
    case "open":
    case "closed":
      return { state: state.state };
    case "waiting":
      return { state: "waiting", retryAt: state.retryAt };
    case "refused":
      return { state: "refused", reason: state.reason === "outdated" ? "gone" : state.reason };
  }
}
