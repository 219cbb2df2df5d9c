/** The real parts of the edit screen; editor and terminal are loaded when first shown. */
import type { Parts } from "@/features/workspace/parts";
import { ReplSession } from "@/session/repl";

export const parts: Parts = {
  openRepl: (options) => new ReplSession(options),
  makeEditor: async (options) => {
    const { CodeEditor } = await import("@/editor/editor");
    return new CodeEditor(options);
  },
  makeTerminal: async (options) => {
    const { TerminalView } = await import("@/terminal/view");
    return new TerminalView(options);
  },
};
