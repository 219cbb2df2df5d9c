import * as encoding from "lib0/encoding";
import { describe, expect, it } from "vitest";
import { MalformedReplay, parseReplay } from "./replay";

const ada = { id: "a".repeat(16), name: "Ada", colour: "#aa0000" };

function replay(authors: string, frames: [number, number, number[]][]): Uint8Array {
  const out = encoding.createEncoder();
  for (const letter of "TDH1") encoding.write(out, letter.charCodeAt(0));
  encoding.writeVarString(out, authors);
  for (const [ms, author, update] of frames) {
    encoding.writeVarUint(out, ms);
    encoding.writeVarUint(out, author);
    encoding.writeVarUint8Array(out, Uint8Array.from(update));
  }
  return encoding.toUint8Array(out);
}

describe("a replay", () => {
  it("holds edits with time and author", () => {
    const bytes = replay(JSON.stringify([ada]), [
      [1_764_000_000_000, 0, [0, 0]],
      [1_764_000_000_010, 1, [1, 2, 3]],
      [1_764_000_000_020, 9, []],
    ]);
    expect(parseReplay(bytes)).toEqual({
      authors: [ada],
      frames: [
        { ms: 1_764_000_000_000, author: null, update: Uint8Array.of(0, 0) },
        { ms: 1_764_000_000_010, author: ada, update: Uint8Array.of(1, 2, 3) },
        { ms: 1_764_000_000_020, author: null, update: new Uint8Array() },
      ],
    });
  });

  it("that is cut or something else is refused as a whole", () => {
    const whole = replay(JSON.stringify([ada]), [[5, 1, [1, 2, 3]]]);
    for (const bytes of [
      new Uint8Array(),
      whole.subarray(1),
      whole.subarray(0, whole.length - 1),
      replay("{}", []),
      replay("[", []),
    ]) {
      expect(() => parseReplay(bytes)).toThrow(MalformedReplay);
    }
  });
});
