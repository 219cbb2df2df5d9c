/** A WebSocket whose other side is the test. */
export class FakeWebSocket {
  static readonly opened: FakeWebSocket[] = [];
  static get last(): FakeWebSocket {
    const last = FakeWebSocket.opened.at(-1);
    if (!last) throw new Error("no socket was opened");
    return last;
  }

  readonly url: string;
  readonly sent: (string | Uint8Array)[] = [];
  binaryType = "blob";
  bufferedAmount = 0;
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer | string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** Called for each frame sent. */
  onSent: (frame: string | Uint8Array) => void = () => undefined;

  constructor(url: string) {
    this.url = url;
    FakeWebSocket.opened.push(this);
  }

  send(frame: string | Uint8Array): void {
    this.sent.push(frame);
    this.onSent(frame);
  }

  close(): void {
    this.closed = true;
  }

  // --- what the other side does ---

  accept(): void {
    this.onopen?.();
  }

  deliver(data: string | Uint8Array): void {
    this.onmessage?.({
      data: typeof data === "string" ? data : (data.slice().buffer as ArrayBuffer),
    });
  }

  end(code = 1006, reason = ""): void {
    this.closed = true;
    this.onclose?.({ code, reason });
  }

  get texts(): unknown[] {
    return this.sent
      .filter((frame) => typeof frame === "string")
      .map((text) => JSON.parse(text) as unknown);
  }

  get binary(): Uint8Array[] {
    return this.sent.filter((frame) => typeof frame !== "string");
  }
}
