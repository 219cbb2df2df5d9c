/** What the keys of the phone's key row send to a terminal. */
export type SoftKey = "Escape" | "Tab" | "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";

export const KEY_SEQUENCES: Record<SoftKey, string> = {
  Escape: "\x1b",
  Tab: "\t",
  ArrowLeft: "\x1b[D",
  ArrowRight: "\x1b[C",
  ArrowUp: "\x1b[A",
  ArrowDown: "\x1b[B",
};

/** What Ctrl and a letter send. */
export function controlCharacter(letter: string): string {
  return String.fromCharCode(letter.toUpperCase().charCodeAt(0) - 64);
}
