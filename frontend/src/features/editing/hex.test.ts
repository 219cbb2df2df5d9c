import { expect, it } from "vitest";
import { hexLines, looksLikeText } from "./hex";

it("draws sixteen bytes a line with offset and text", () => {
  const bytes = new TextEncoder().encode("Hello, wörld! 123\n");
  const lines = hexLines(bytes, 0x100);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toEqual({
    offset: "00000100",
    hex: "48 65 6c 6c 6f 2c 20 77  c3 b6 72 6c 64 21 20 31",
    text: "Hello, w··rld! 1",
  });
  expect(lines[1]?.text).toBe("23·");
  expect(lines[1]?.hex).toHaveLength(48);
});

it("tells text from bytes, also when a part ends in a character", () => {
  expect(looksLikeText(new TextEncoder().encode("grüße"))).toBe(true);
  expect(looksLikeText(new TextEncoder().encode("grü").slice(0, 3))).toBe(true);
  expect(looksLikeText(new Uint8Array([65, 0, 66]))).toBe(false);
  expect(looksLikeText(new Uint8Array([0xff, 0xfe, 65]))).toBe(false);
});
