/** How a text is indented, read from the text itself. */
import type { Text } from "@codemirror/state";

export interface Indent {
  unit: "tab" | "space";
  size: number;
}

const LINES_READ = 1_000;

/** Looks at the steps between neighbouring lines' indents; null when there are none. */
export function detectIndent(doc: Text): Indent | null {
  let tabs = 0;
  const steps = new Map<number, number>();
  let previous = 0;
  let seen = 0;
  for (const line of doc.iterLines(1, Math.min(doc.lines, LINES_READ) + 1)) {
    const [lead = ""] = /^[\t ]*/.exec(line) ?? [];
    if (lead.length === line.length) continue;
    seen += 1;
    if (lead.startsWith("\t")) {
      tabs += 1;
      continue;
    }
    const step = Math.abs(lead.length - previous);
    previous = lead.length;
    if (step >= 2 && step <= 8) steps.set(step, (steps.get(step) ?? 0) + 1);
  }
  const spaces = [...steps.values()].reduce((sum, count) => sum + count, 0);
  if (seen === 0 || (tabs === 0 && spaces === 0)) return null;
  if (tabs >= spaces) return { unit: "tab", size: 4 };
  const [size = 2] = [...steps].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0] ?? [];
  return { unit: "space", size };
}

/** An indent from its text. */
export const indentOf = (text: string): Indent =>
  text.startsWith("\t") ? { unit: "tab", size: 4 } : { unit: "space", size: text.length };

export const indentText = ({ unit, size }: Indent) => (unit === "tab" ? "\t" : " ".repeat(size));
