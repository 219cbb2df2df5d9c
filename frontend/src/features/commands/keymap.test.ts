import { describe, expect, it } from "vitest";
import type { KeyPress } from "@/ui/chord";
import { COMMANDS } from "./commands";
import { commandFor, type Place } from "./keymap";

const press = (code: string, key: string, held: Partial<KeyPress> = {}): KeyPress => ({
  code,
  key,
  ctrlKey: false,
  metaKey: false,
  shiftKey: false,
  altKey: false,
  ...held,
});
const id = (event: KeyPress, place: Place, mac = false) => commandFor(event, place, mac)?.id;

describe("keys", () => {
  const ctrl = { ctrlKey: true };
  it.each([
    [press("KeyP", "p", ctrl), "text", "file.open"],
    [press("KeyP", "P", { ...ctrl, shiftKey: true }), "terminal", "view.palette"],
    [press("F1", "F1"), "text", "view.palette"],
    [press("Enter", "Enter", ctrl), "text", "run.toggle"],
    [press("Backquote", "`", ctrl), "terminal", "terminal.toggle"],
    [press("Backslash", "\\", ctrl), "text", "view.split"],
    [press("Slash", "?", { shiftKey: true }), "elsewhere", "help.keys"],
  ] as const)("%o in %s is %s", (event, place, want) => {
    expect(id(event, place)).toBe(want);
  });

  it("leaves keys to the terminal and to typing", () => {
    expect(id(press("KeyP", "p", ctrl), "terminal")).toBeUndefined();
    expect(id(press("KeyB", "b", ctrl), "terminal")).toBeUndefined();
    expect(id(press("Slash", "?", { shiftKey: true }), "text")).toBeUndefined();
    expect(id(press("KeyC", "c", ctrl), "text")).toBeUndefined();
  });

  it("goes by Cmd on a Mac", () => {
    expect(id(press("KeyP", "p", { metaKey: true }), "text", true)).toBe("file.open");
    expect(id(press("KeyP", "p", ctrl), "text", true)).toBeUndefined();
    expect(id(press("Backquote", "`", ctrl), "text", true)).toBe("terminal.toggle");
  });

  it("gives no chord to two commands", () => {
    const chords = COMMANDS.flatMap(({ keys }) => keys ?? []);
    expect(new Set(chords).size).toBe(chords.length);
  });
});
