/**
 * A WebSocket that comes back: backoff with jitter, an immediate attempt when the network
 * returns or the page is looked at again, and a probe that notices a dead connection which the
 * system has not yet given up. One instance lives as long as its page.
 */
import { backoffMs } from "./backoff";

export type SocketState =
  | { state: "connecting"; attempt: number }
  | { state: "open" }
  | { state: "waiting"; attempt: number; retryAt: number; reason: string }
  | { state: "refused"; reason: RefusedReason }
  | { state: "closed" };

export type RefusedReason = "unauthorized" | "forbidden" | "gone" | "outdated";

/** Close codes that end it; any other one means "come back". */
const REFUSED: Record<number, RefusedReason> = {
  4400: "outdated",
  4401: "unauthorized",
  4403: "forbidden",
  4404: "gone",
};

export interface SocketOptions {
  /** Asked anew for each attempt: a terminal's address holds the offset to go on from. */
  url: () => string;
  protocol?: string;
  onOpen: () => void;
  onBinary: (bytes: Uint8Array) => void;
  onText?: (text: string) => void;
  onState: (state: SocketState) => void;
  /** Sent to learn whether the other side lives; its answer is any frame at all. */
  probe?: Uint8Array<ArrayBuffer>;
}

/** Every socket of the page: they share one network, so one that fell silent speaks for those
 *  that cannot ask (a terminal has no probe, and going on after a break costs it little). */
const alive = new Set<ReconnectingSocket>();

const OPEN_LIMIT_MS = 10_000;
const SILENCE_MS = 20_000;
const ANSWER_LIMIT_MS = 8_000;
/** After the system said that the network is gone. It may be wrong: a server on this very
 *  machine still answers. */
const OFFLINE_LIMIT_MS = 2_500;
const PULSE_MS = 1_000;

export class ReconnectingSocket {
  private readonly options: SocketOptions;
  private socket: WebSocket | null = null;
  private state: SocketState = { state: "connecting", attempt: 0 };
  private attempt = 0;
  private heardAt = 0;
  private probedAt = 0;
  private answerLimit = ANSWER_LIMIT_MS;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private openTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly pulse: ReturnType<typeof setInterval>;

  constructor(options: SocketOptions) {
    this.options = options;
    this.pulse = setInterval(() => this.checkPulse(), PULSE_MS);
    globalThis.addEventListener?.("online", this.wake);
    globalThis.addEventListener?.("offline", this.doubt);
    globalThis.document?.addEventListener("visibilitychange", this.wake);
    alive.add(this);
    this.connect();
  }

  get current(): SocketState {
    return this.state;
  }

  /** Bytes accepted by `send` that the network has not taken yet. */
  get bufferedBytes(): number {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** False when it is not open: the caller sends again after `onOpen`. */
  send(frame: Uint8Array<ArrayBuffer> | string): boolean {
    if (this.state.state !== "open" || this.socket === null) return false;
    this.socket.send(frame);
    return true;
  }

  /** Connects now, also after a refusal. */
  reconnect(): void {
    if (this.state.state === "closed" || this.state.state === "open") return;
    this.attempt = 0;
    this.connect();
  }

  /** Drops a connection whose other side does not keep the protocol; it comes back by itself. */
  abandon(reason: string): void {
    if (this.state.state === "closed") return;
    this.drop();
    this.wait(reason);
  }

  close(): void {
    alive.delete(this);
    clearInterval(this.pulse);
    globalThis.removeEventListener?.("online", this.wake);
    globalThis.removeEventListener?.("offline", this.doubt);
    globalThis.document?.removeEventListener("visibilitychange", this.wake);
    this.drop();
    this.change({ state: "closed" });
  }

  private readonly wake = () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state.state === "waiting") this.reconnect();
    else if (this.state.state === "open") this.sendProbe(ANSWER_LIMIT_MS);
  };

  private readonly doubt = () => this.sendProbe(OFFLINE_LIMIT_MS);

  private connect(): void {
    this.drop();
    this.change({ state: "connecting", attempt: this.attempt });
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.options.url(), this.options.protocol);
    } catch {
      this.wait("The connection cannot be opened.");
      return;
    }
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.openTimer = setTimeout(() => this.abandon("The server does not answer."), OPEN_LIMIT_MS);
    socket.onopen = () => {
      clearTimeout(this.openTimer);
      this.heardAt = Date.now();
      this.probedAt = 0;
      this.change({ state: "open" });
      this.options.onOpen();
    };
    socket.onmessage = (event: MessageEvent<ArrayBuffer | string>) => {
      this.heardAt = Date.now();
      this.probedAt = 0;
      // An accepted upgrade alone proves nothing: the server refuses by close codes after it.
      this.attempt = 0;
      if (typeof event.data === "string") this.options.onText?.(event.data);
      else this.options.onBinary(new Uint8Array(event.data));
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.drop();
      const refused = REFUSED[event.code];
      if (refused) this.change({ state: "refused", reason: refused });
      else this.wait(event.reason || "The connection was lost.");
    };
  }

  private wait(reason: string): void {
    const delay = Math.round(backoffMs(this.attempt));
    this.attempt += 1;
    this.change({
      state: "waiting",
      attempt: this.attempt,
      retryAt: Date.now() + delay,
      reason,
    });
    this.retryTimer = setTimeout(() => this.connect(), delay);
  }

  private checkPulse(): void {
    if (this.state.state !== "open" || !this.options.probe) return;
    const now = Date.now();
    if (this.probedAt !== 0) {
      if (now - this.probedAt > this.answerLimit) this.fellSilent();
    } else if (now - this.heardAt > SILENCE_MS) {
      this.sendProbe(ANSWER_LIMIT_MS);
    }
  }

  private fellSilent(): void {
    const reason = "The server fell silent.";
    this.abandon(reason);
    for (const other of alive) {
      if (!other.options.probe && other.state.state === "open") other.abandon(reason);
    }
  }

  private sendProbe(limit: number): void {
    if (!this.options.probe) return;
    this.answerLimit = limit;
    if (this.probedAt === 0 && this.send(this.options.probe)) this.probedAt = Date.now();
  }

  private drop(): void {
    clearTimeout(this.retryTimer);
    clearTimeout(this.openTimer);
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private change(state: SocketState): void {
    this.state = state;
    this.options.onState(state);
  }
}

/** The WebSocket address of a path on this page's own server. */
export function webSocketUrl(path: string): string {
  const url = new URL(path, window.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
