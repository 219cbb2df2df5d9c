/** Which command a key press means, given where the focus is. */
import { chordOf, type KeyPress } from "@/ui/chord";
import { COMMANDS, type Command } from "./commands";

export type Place = "terminal" | "text" | "elsewhere";

const byChord = new Map<string, Command>();
for (const command of COMMANDS) {
  for (const chord of command.keys ?? []) byChord.set(chord, command);
}

/** The command of a key press; null leaves the key to what has the focus. */
export function commandFor(press: KeyPress, place: Place, mac: boolean): Command | null {
  const command = byChord.get(chordOf(press, mac));
  if (command === undefined) return null;
  if (place === "terminal" && command.inTerminal !== true) return null;
  const plain = !press.ctrlKey && !press.metaKey && !press.altKey && !/^F\d/.test(press.key);
  if (plain && place !== "elsewhere") return null;
  return command;
}

/** Where the focus is, for deciding whose a key is. */
export function placeOf(target: EventTarget | null): Place {
  if (!(target instanceof Element)) return "elsewhere";
  if (target.closest("[data-terminal]") !== null) return "terminal";
  const editable = target.closest('input, textarea, [contenteditable="true"], [role="textbox"]');
  return editable === null ? "elsewhere" : "text";
}
