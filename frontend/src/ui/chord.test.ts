import { describe, expect, it } from "vitest";
import { chordOf, chordParts, type KeyPress } from "./chord";

const press = (code: string, key: string, held: Partial<KeyPress> = {}): KeyPress => ({
  code,
  key,
  ctrlKey: false,
  metaKey: false,
  shiftKey: false,
  altKey: false,
  ...held,
});

describe("chordOf", () => {
  it.each([
    [press("KeyP", "p", { ctrlKey: true }), false, "Mod+P"],
    [press("KeyP", "P", { ctrlKey: true, shiftKey: true }), false, "Mod+Shift+P"],
    [press("KeyP", "p", { metaKey: true }), true, "Mod+P"],
    [press("KeyC", "c", { ctrlKey: true }), true, "Ctrl+C"],
    [press("Backquote", "`", { ctrlKey: true }), false, "Mod+`"],
    [press("Slash", "?", { shiftKey: true }), false, "Shift+/"],
    [press("Enter", "Enter", { ctrlKey: true }), false, "Mod+Enter"],
    [press("F1", "F1"), false, "F1"],
    [press("Backslash", "\\", { ctrlKey: true }), false, "Mod+\\"],
  ])("%o on a Mac %s is %s", (event, mac, chord) => {
    expect(chordOf(event, mac)).toBe(chord);
  });
});

describe("chordParts", () => {
  it("names keys as the machine does", () => {
    expect(chordParts("Mod+Shift+P", false)).toEqual(["Ctrl", "Shift", "P"]);
    expect(chordParts("Shift+/", false)).toEqual(["?"]);
    expect(chordParts("Mod+Shift+P", true)).toEqual(["⌘", "⇧", "P"]);
  });
});
