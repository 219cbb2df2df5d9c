/**
 * Everything that one opened repl holds on this page: its session, open tabs, tree, terminals.
 * Made when the page opens, closed when it goes; components reach it by `useWorkspace`.
 */
import { createStore, type StoreApi } from "zustand/vanilla";
import type { FileId, LiveState, Me, ReplId, ReplInfo } from "@/gen/api";
import { renameTabs } from "@/features/tabs/model";
import { type HistoryShown, NOTHING_SHOWN } from "@/features/history/shown";
import { createTabsStore, type TabsStore } from "@/features/tabs/store";
import { FolderTree } from "@/features/tree/folderTree";
import { createTreeUi, type TreeUiStore } from "@/features/tree/treeUi";
import type { EditorCursor, EditorOnScreen, ReplPage } from "@/session/contract";
import { TerminalPool } from "@/features/panel/terminalPool";
import type { Parts } from "./parts";

/** What the editor in front says about itself. */
export interface EditorState {
  editor: EditorOnScreen | null;
  cursor: EditorCursor | null;
  language: string | null;
  indent: { unit: "tab" | "space"; size: number } | null;
  tabLeaves: boolean;
}

const NO_EDITOR: EditorState = {
  editor: null,
  cursor: null,
  language: null,
  indent: null,
  tabLeaves: false,
};

export type Overlay = "commands" | "files" | "line" | "keys" | "share" | "profile" | null;

/** What is drawn over the workspace, and small facts that several places need. */
export interface Surface {
  overlay: Overlay;
  /** The terminal shown in the panel; null means the console. */
  terminal: string | null;
  /** Somebody asked for the terminal, so it takes the focus when it appears. */
  terminalWanted: boolean;
  /** Somebody asked for the editor, so it takes the focus when its file appears. */
  editorWanted: boolean;
  /** Run was pressed and the server has not answered yet. */
  starting: boolean;
  /** The port the preview shows; null follows the first that is usable. */
  port: number | null;
}

export class Workspace {
  readonly repl: ReplId;
  readonly page: ReplPage;
  readonly parts: Parts;
  readonly tabs: TabsStore;
  readonly tree: FolderTree;
  readonly treeUi: TreeUiStore;
  readonly terminals: TerminalPool;
  readonly editor: StoreApi<EditorState>;
  readonly surface: StoreApi<Surface>;
  readonly history: StoreApi<HistoryShown>;
  readonly #stops: (() => void)[] = [];

  constructor(parts: Parts, info: ReplInfo, me: Me) {
    this.repl = info.id;
    this.parts = parts;
    this.page = parts.openRepl({ repl: info.id, me, role: info.role });
    this.tabs = createTabsStore(info.id);
    this.treeUi = createTreeUi();
    this.tree = new FolderTree(this.page, rememberedFolders(info.id));
    this.terminals = new TerminalPool(parts, {
      repl: info.id,
      me: me.member,
      readOnly: info.role === "viewer",
    });
    this.editor = createStore<EditorState>(() => NO_EDITOR);
    this.history = createStore<HistoryShown>(() => NOTHING_SHOWN);
    this.surface = createStore<Surface>(() => ({
      overlay: null,
      terminal: null,
      terminalWanted: false,
      editorWanted: false,
      starting: false,
      port: null,
    }));
    let shownOnce = false;
    const watchOpenFiles = () =>
      this.tree.watch(
        this.tabs.getState().groups.flatMap(({ tabs }) => tabs.map(({ path }) => path)),
      );
    this.#stops.push(
      this.tabs.subscribe(watchOpenFiles),
      this.tree.subscribe(() => {
        const { paths, expanded } = this.tree.getSnapshot();
        this.tabs.setState((tabs) => renameTabs(tabs, paths));
        rememberFolders(info.id, expanded);
      }),
      this.page.subscribe(() => {
        const live = this.page.getSnapshot().live;
        if (live === null) return;
        if (!shownOnce) this.surface.setState({ terminal: terminalToShow(info.id, live) });
        shownOnce = true;
        this.terminals.keep(live.terminals.map(({ id }) => id));
      }),
      this.surface.subscribe(({ terminal }) => rememberTerminal(info.id, terminal)),
    );
    watchOpenFiles();
  }

  show(overlay: Overlay): void {
    this.surface.setState({ overlay });
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.terminals.close();
    this.tree.close();
    this.page.close();
  }
}

const terminalKey = (repl: ReplId) => `tandem.terminal.${repl}`;

/** What the panel shows at first: what it showed before a reload, else the console of a run,
 *  else the newest shell, so that a guest sees at once what the others do. */
function terminalToShow(repl: ReplId, live: LiveState): string | null {
  const shells = live.terminals.filter(({ kind, exit }) => kind === "shell" && exit === null);
  let before: string | null = null;
  try {
    before = sessionStorage.getItem(terminalKey(repl));
  } catch {
    // Storage is out of reach: nothing is remembered.
  }
  if (shells.some(({ id }) => id === before)) return before;
  return live.run === null ? (shells.at(-1)?.id ?? null) : null;
}

function rememberTerminal(repl: ReplId, terminal: string | null): void {
  try {
    sessionStorage.setItem(terminalKey(repl), terminal ?? "");
  } catch {
    // As above.
  }
}

const foldersKey = (repl: ReplId) => `tandem.folders.${repl}`;

function rememberedFolders(repl: ReplId): FileId[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(foldersKey(repl)) ?? "[]");
    return Array.isArray(stored) ? stored.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

function rememberFolders(repl: ReplId, expanded: ReadonlySet<FileId>): void {
  try {
    localStorage.setItem(foldersKey(repl), JSON.stringify([...expanded]));
  } catch {
    // Private mode or a full store: the tree opens collapsed next time.
  }
}
