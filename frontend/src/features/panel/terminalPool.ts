/** Terminals that were shown once stay alive behind their tabs, so that switching is instant. */
import type { TerminalId } from "@/gen/api";
import type { TerminalOnScreen, TerminalOptions } from "@/session/contract";
import type { Parts } from "@/features/workspace/parts";

type Common = Pick<TerminalOptions, "repl" | "me" | "readOnly">;
type Look = Pick<TerminalOptions, "fontSize" | "screenReader" | "onLeave">;

export class TerminalPool {
  readonly #parts: Pick<Parts, "makeTerminal">;
  readonly #common: Common;
  readonly #held = new Map<TerminalId, Promise<TerminalOnScreen>>();

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

  /** Lets go of every terminal that is not among these. */
  keep(terminals: readonly TerminalId[]): void {
    for (const [id, held] of this.#held) {
      if (terminals.includes(id)) continue;
      this.#held.delete(id);
      void held.then((terminal) => terminal.dispose());
    }
  }

  /** Applies to all that are alive, for example after a change of theme. */
  each(apply: (terminal: TerminalOnScreen) => void): void {
    for (const held of this.#held.values()) void held.then(apply);
  }

  close(): void {
    this.keep([]);
  }
}
