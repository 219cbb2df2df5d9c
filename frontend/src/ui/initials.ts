/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name
    .trim()
    .split(/[\s_.-]+/u)
    .filter(Boolean);
  const letter = (word: string | undefined) => (word === undefined ? "" : ([...word][0] ?? ""));
  const text = letter(words[0]) + (words.length > 1 ? letter(words[words.length - 1]) : "");
  return text === "" ? "?" : text.toUpperCase();
}

/** Black or white, whichever reads better on a `#rrggbb` colour. */
export function inkOn(colour: string): "#000000" | "#ffffff" {
  const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
  if (match === null) return "#ffffff";
  const [r = 0, g = 0, b = 0] = match.slice(1).map((part) => {
    const value = parseInt(part, 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
