/** Whether Cmd takes the place of Ctrl. */
export const isMac = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);

const arrows = { ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
const macNames: Record<string, string> = {
  ...arrows,
  Mod: "⌘",
  Ctrl: "⌃",
  Shift: "⇧",
  Alt: "⌥",
  Enter: "↩",
  Delete: "⌫",
};
const otherNames: Record<string, string> = { ...arrows, Mod: "Ctrl", Enter: "Enter" };

/** `Mod+Shift+P` as the caps a person sees on this machine. */
export function chordParts(chord: string, mac: boolean = isMac): string[] {
  if (chord === "Shift+/") return ["?"];
  const names = mac ? macNames : otherNames;
  return chord.split("+").map((part) => names[part] ?? part);
}

/** The parts of a keyboard event that a chord is made of. */
export type KeyPress = Pick<
  KeyboardEvent,
  "key" | "code" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey"
>;

const codeNames: Record<string, string> = {
  Backquote: "`",
  Slash: "/",
  Backslash: "\\",
  Comma: ",",
  Period: ".",
  BracketLeft: "[",
  BracketRight: "]",
  Minus: "-",
  Equal: "=",
};

function keyName({ key, code }: KeyPress): string {
  // Shift and Alt change `key` (`?`, `å`), so letters, digits and signs go by their place.
  if (/^Key[A-Z]$/.test(code)) return code.slice(3);
  if (/^Digit\d$/.test(code)) return code.slice(5);
  return codeNames[code] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** The chord of a key press in the notation of {@link chordParts}. */
export function chordOf(press: KeyPress, mac: boolean = isMac): string {
  const mod = mac ? press.metaKey : press.ctrlKey;
  const ctrl = mac && press.ctrlKey;
  return [
    mod && "Mod",
    ctrl && "Ctrl",
    press.altKey && "Alt",
    press.shiftKey && "Shift",
    keyName(press),
  ]
    .filter(Boolean)
    .join("+");
}
