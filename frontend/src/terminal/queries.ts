/**
 * Programs ask a terminal questions (device attributes, cursor position, colours) and read the
 * answer as input. Of all the screens that show one shared terminal exactly one may answer, and
 * none may answer questions from the past when old output is drawn again: the answer would be
 * typed into whatever runs now.
 */
import type { IDisposable, IFunctionIdentifier, Terminal } from "@xterm/xterm";

const CSI_QUERIES: IFunctionIdentifier[] = [
  { final: "c" },
  { prefix: ">", final: "c" },
  { prefix: "=", final: "c" },
  { final: "n" },
  { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" },
  { prefix: "?", intermediates: "$", final: "p" },
  { prefix: ">", final: "q" },
  { prefix: "?", final: "u" },
  { final: "t" },
];
/** Colour settings; a `?` in place of a colour asks. */
const OSC_COLOURS = [4, 10, 11, 12];

/** Swallows questions whenever `mayAnswer` says no. */
export function guardQueries(terminal: Terminal, mayAnswer: () => boolean): IDisposable {
  const parts: IDisposable[] = CSI_QUERIES.map((id) =>
    terminal.parser.registerCsiHandler(id, () => !mayAnswer()),
  );
  parts.push(
    terminal.parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => !mayAnswer()),
    terminal.parser.registerDcsHandler({ intermediates: "+", final: "q" }, () => !mayAnswer()),
    // The clipboard is the person's: no program reads or writes it.
    terminal.parser.registerOscHandler(52, () => true),
  );
  for (const code of OSC_COLOURS) {
    parts.push(
      terminal.parser.registerOscHandler(code, (data) => data.includes("?") && !mayAnswer()),
    );
  }
  return { dispose: () => parts.forEach((part) => part.dispose()) };
}
