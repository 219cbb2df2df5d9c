// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeWebSocket } from "@/wire/websocket.testing";
import { TerminalSession } from "./terminal";

const me = "m".repeat(16);
let output: [length: number, end: number][];
let resets: number;
let session: TerminalSession;

function open(readOnly = false) {
  session = new TerminalSession({
    repl: "r".repeat(16),
    terminal: "t".repeat(16),
    me,
    readOnly,
    onOutput: (bytes, end) => output.push([bytes.length, end]),
    onReset: () => (resets += 1),
  });
  FakeWebSocket.last.accept();
}

const server = () => FakeWebSocket.last;
const tell = (message: object) => server().deliver(JSON.stringify(message));
const resize = (cols: number, rows: number, driver: string | null) =>
  tell({ type: "resize", cols, rows, driver });

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeWebSocket);
  FakeWebSocket.opened.length = 0;
  output = [];
  resets = 0;
});

afterEach(() => {
  session.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a terminal", () => {
  it("goes on after the last byte received", () => {
    open();
    expect(server().url).toMatch(/\/terminals\/t{16}\/ws\?from=0$/);
    server().deliver(new Uint8Array(100));
    server().deliver(new Uint8Array(50));
    expect(output).toEqual([
      [100, 100],
      [50, 150],
    ]);
    server().end();
    vi.advanceTimersByTime(1000);
    expect(server().url).toMatch(/from=150$/);
  });

  it("starts over where the server says when the past is lost", () => {
    open();
    server().deliver(new Uint8Array(10));
    tell({ type: "reset", offset: 5000, prelude: "" });
    server().deliver(new Uint8Array(7));
    expect(resets).toBe(1);
    expect(output.at(-1)).toEqual([7, 5007]);
    server().end();
    vi.advanceTimersByTime(1000);
    expect(server().url).toMatch(/from=5007$/);
  });

  it("acknowledges what is drawn: every 16 KiB, and the rest soon after", () => {
    open();
    server().deliver(new Uint8Array(40_000));
    expect(server().texts).toEqual([]);
    session.drawn(16_384);
    expect(server().texts).toEqual([{ type: "ack", offset: 16_384 }]);
    session.drawn(20_000);
    expect(server().texts).toHaveLength(1);
    vi.advanceTimersByTime(300);
    expect(server().texts.at(-1)).toEqual({ type: "ack", offset: 20_000 });
    vi.advanceTimersByTime(5000);
    expect(server().texts).toHaveLength(2);
  });

  it("takes the wheel when nobody has it, and gives it up to others", () => {
    open();
    session.fit({ cols: 100, rows: 30 });
    resize(80, 24, null);
    expect(server().texts.at(-1)).toEqual({ type: "resize", cols: 100, rows: 30, drive: true });
    resize(100, 30, me);
    expect(session.state.getSnapshot()).toMatchObject({ driving: true, cols: 100, rows: 30 });
    resize(120, 40, "o".repeat(16));
    expect(session.state.getSnapshot()).toMatchObject({
      driving: false,
      cols: 120,
      driver: "o".repeat(16),
    });
    session.fit({ cols: 90, rows: 20 });
    expect(server().texts.at(-1)).toEqual({ type: "resize", cols: 90, rows: 20, drive: false });
    session.drive();
    resize(90, 20, me);
    expect(session.state.getSnapshot().driving).toBe(true);
    // Another tab of the same person.
    resize(70, 20, me);
    expect(session.state.getSnapshot().driving).toBe(false);
  });

  it("sends input raw, a big paste in pieces, and nothing while disconnected", () => {
    open();
    expect(session.send(Uint8Array.of(3))).toBe(true);
    session.send(new Uint8Array(70_000));
    expect(server().binary.map((bytes) => bytes.length)).toEqual([1, 32_768, 32_768, 4_464]);
    server().end();
    expect(session.send(Uint8Array.of(3))).toBe(false);
  });

  it("of a viewer sends neither input nor sizes", () => {
    open(true);
    session.fit({ cols: 100, rows: 30 });
    resize(80, 24, null);
    expect(session.send(Uint8Array.of(3))).toBe(false);
    expect(server().sent).toEqual([]);
  });

  it("tells how the process ended, and when it is gone", () => {
    open();
    tell({ type: "exit", exit: { code: 3, signal: null, duration_ms: 1200 } });
    expect(session.state.getSnapshot().exit).toEqual({ code: 3, signal: null, durationMs: 1200 });
    server().end(4404);
    expect(session.state.getSnapshot().connection).toEqual({ state: "refused", reason: "gone" });
  });
});
