/** The heavy parts of the edit screen, loaded when they are first shown and replaceable in tests. */
import type {
  EditorOnScreen,
  EditorOptions,
  ReplOptions,
  ReplPage,
  TerminalOnScreen,
  TerminalOptions,
} from "@/session/contract";

export interface Parts {
  openRepl: (options: ReplOptions) => ReplPage;
  makeEditor: (options: EditorOptions) => Promise<EditorOnScreen>;
  makeTerminal: (options: TerminalOptions) => Promise<TerminalOnScreen>;
}
