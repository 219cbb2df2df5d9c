/** Terminals that were shown once stay alive behind their tabs, so that switching is instant. */
import type { TerminalId } from "@/gen/api";
import type { TerminalOnScreen, TerminalOptions } from "@/session/contract";
import type { Parts } from "@/features/workspace/parts";

type Common = Pick<TerminalOptions, "repl" | "me" | "readOnly">;
type Look = Pick<TerminalOptions, "fontSize" | "screenReader" | "onLeave" | "fresh">;

export class TerminalPool {
  readonly #parts: Pick<Parts, "makeTerminal">;
  readonly #common: Common;
  readonly #held = new Map<TerminalId, Promise<TerminalOnScreen>>();
  /** Terminals that the server has told of; a new one may be shown before that. */
  readonly #told = new Set<TerminalId>();

  constructor(parts: Pick<Parts, "makeTerminal">, common: Common) {
    this.#parts = parts;
    this.#common = common;
  }

  /** The terminal with this id, made at its first showing. */
  get(terminal: TerminalId, look: Look): Promise<TerminalOnScreen> {
    const held = this.#held.get(terminal);
    if (held !== undefined) return held;
    const made = this.#parts.makeTerminal({ ...this.#common, ...look, terminal });
    this.#held.set(terminal, made);
    return made;
  }

  /** Lets go of every terminal that was told of and is not among these any more. */
  keep(terminals: readonly TerminalId[]): void {
    for (const id of terminals) this.#told.add(id);
    for (const [id, held] of this.#held) {
      if (terminals.includes(id) || !this.#told.has(id)) continue;
      this.#held.delete(id);
      void held.then((terminal) => terminal.dispose());
    }
  }

  close(): void {
    for (const held of this.#held.values()) void held.then((terminal) => terminal.dispose());
    this.#held.clear();
  }
}
