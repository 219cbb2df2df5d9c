import { describe, expect, it } from "vitest";
import { decode, encode, MalformedFrame, type Message, PING_FRAME, Refusal } from "./codec";

const messages: Message[] = [
  { type: "step1", stateVector: Uint8Array.of(0) },
  { type: "step2", update: Uint8Array.of(0, 0) },
  { type: "awareness", update: Uint8Array.of(1, 2, 3) },
  { type: "query-awareness" },
  { type: "auth", allowed: true, detail: "read-write" },
  { type: "auth", allowed: false, detail: "no" },
  { type: "identity", guid: "aaaaaaaaaaaaaaaa", generation: 3, path: "src/ä b.py" },
  { type: "identity", guid: "", generation: 0, path: "" },
  { type: "update", seq: 300, update: new Uint8Array(1000).fill(7) },
  { type: "ack", seq: 2 ** 40, level: 2 },
  { type: "nack", seq: 1, code: Refusal.readOnly },
  { type: "credit", bytes: 1 << 20 },
  { type: "reset", reason: Refusal.gap },
  { type: "closed", code: Refusal.notFound },
];

describe("codec", () => {
  it.each(messages)("round-trips $type", (message) => {
    expect(decode(encode("#x y", message))).toEqual({ type: "message", address: "#x y", message });
  });

  it("writes the bytes that the server writes", () => {
    // crates/proto/src/live.rs: `[address][type]…`, all lib0 varints.
    expect([...encode("a", { type: "ack", seq: 300, level: 1 })]).toEqual([1, 97, 66, 172, 2, 1]);
    expect([...encode("a", { type: "update", seq: 1, update: Uint8Array.of(9) })]).toEqual([
      1, 97, 65, 1, 1, 9,
    ]);
    expect([...encode("a", { type: "step1", stateVector: Uint8Array.of(0) })]).toEqual([
      1, 97, 0, 0, 1, 0,
    ]);
    expect([...encode("a", { type: "identity", guid: "", generation: 0, path: "" })]).toEqual([
      1, 97, 64, 0, 0, 0,
    ]);
  });

  it("knows the one-byte frames and skips what it does not know", () => {
    expect(decode(PING_FRAME)).toEqual({ type: "ping" });
    expect(decode(Uint8Array.of(10))).toEqual({ type: "pong" });
    expect(decode(Uint8Array.of(1, 97, 99, 5))).toEqual({
      type: "unknown",
      address: "a",
      kind: 99,
    });
    // Hocuspocus's CLOSE carries a reason in words.
    expect(decode(Uint8Array.of(1, 97, 7, 1, 120))).toMatchObject({ message: { type: "closed" } });
  });

  it("refuses malformed frames", () => {
    for (const bytes of [
      [],
      [200],
      [5, 97],
      [1, 97, 66, 1, 3],
      [1, 97, 65, 1, 9, 0],
      [1, 97, 0, 7, 0],
    ]) {
      expect(() => decode(Uint8Array.from(bytes)), String(bytes)).toThrow(MalformedFrame);
    }
  });
});
