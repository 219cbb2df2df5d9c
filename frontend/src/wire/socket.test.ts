// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { backoffMs } from "./backoff";
import { ReconnectingSocket, type SocketState, webSocketUrl } from "./socket";
import { FakeWebSocket } from "./websocket.testing";

let states: SocketState[];
let socket: ReconnectingSocket;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeWebSocket);
  FakeWebSocket.opened.length = 0;
  states = [];
  socket = new ReconnectingSocket({
    url: () => `ws://test/${FakeWebSocket.opened.length}`,
    probe: Uint8Array.of(9),
    onOpen: () => undefined,
    onBinary: () => undefined,
    onState: (state) => states.push(state),
  });
});

afterEach(() => {
  socket.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a socket", () => {
  it("comes back with growing waits until the server is heard again", () => {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      FakeWebSocket.last.end();
      const state = socket.current;
      if (state.state !== "waiting") throw new Error(state.state);
      const wait = state.retryAt - Date.now();
      const full = Math.min(4_000, 300 * 2 ** attempt);
      expect(wait).toBeGreaterThanOrEqual(full / 2);
      expect(wait).toBeLessThanOrEqual(full);
      vi.advanceTimersByTime(wait + 1);
    }
    expect(FakeWebSocket.opened).toHaveLength(6);
    FakeWebSocket.last.accept();
    FakeWebSocket.last.deliver(Uint8Array.of(10));
    FakeWebSocket.last.end(1012, "restarting");
    expect(socket.current).toMatchObject({ state: "waiting", attempt: 1, reason: "restarting" });
  });

  it.each([
    [4401, "unauthorized"],
    [4403, "forbidden"],
    [4404, "gone"],
  ])("stays away after close code %i", (code, reason) => {
    FakeWebSocket.last.accept();
    FakeWebSocket.last.end(code);
    vi.advanceTimersByTime(600_000);
    expect(socket.current).toEqual({ state: "refused", reason });
    expect(FakeWebSocket.opened).toHaveLength(1);
    socket.reconnect();
    expect(FakeWebSocket.opened).toHaveLength(2);
  });

  it("tries at once when the network is back", () => {
    for (let attempt = 0; attempt < 12; attempt += 1) {
      FakeWebSocket.last.end();
      vi.advanceTimersByTime(15_001);
    }
    FakeWebSocket.last.end();
    const before = FakeWebSocket.opened.length;
    window.dispatchEvent(new Event("online"));
    expect(FakeWebSocket.opened).toHaveLength(before + 1);
  });

  it("notices a connection that died in silence", () => {
    FakeWebSocket.last.accept();
    vi.advanceTimersByTime(23_000);
    expect(FakeWebSocket.last.sent).toHaveLength(1);
    FakeWebSocket.last.deliver(Uint8Array.of(10));
    vi.advanceTimersByTime(15_000);
    expect(socket.current.state).toBe("open");
    vi.advanceTimersByTime(20_000);
    expect(states).toContainEqual(
      expect.objectContaining({ state: "waiting", reason: "The server fell silent." }),
    );
    expect(FakeWebSocket.opened[0]?.closed).toBe(true);
  });

  it("ignores what an abandoned connection still says", () => {
    const first = FakeWebSocket.last;
    first.accept();
    socket.abandon("test");
    first.end(4401);
    expect(socket.current.state).toBe("waiting");
    expect(socket.send("x")).toBe(false);
  });
});

it("waits no longer than 15 s and never in step", () => {
  expect(backoffMs(9, () => 1)).toBe(4_000);
  expect(backoffMs(50, () => 1)).toBe(15_000);
  expect(backoffMs(0, () => 0)).toBe(150);
});

it("stays on the page's own server", () => {
  expect(webSocketUrl("/api/x")).toBe("ws://localhost:3000/api/x");
});
