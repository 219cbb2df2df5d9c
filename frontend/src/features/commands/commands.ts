/** Everything a person can do by name or key. */
import { archiveUrl } from "@/api/client";
import {
  chooseAndImport,
  chooseAndUpload,
  download,
  revealInTree,
  startDraft,
} from "@/features/files/actions";
import { changeLayout, useLayout, type SidebarView } from "@/features/layout/layout";
import {
  isRunning,
  newShell,
  run,
  showConsole,
  stop,
  toggleTerminal,
} from "@/features/run/actions";
import { FONT_SIZES, useSettings } from "@/features/settings/settings";
import { activeTab, closeTabs, cycleTab, reopenTab, splitTabs } from "@/features/tabs/model";
import type { Workspace } from "@/features/workspace/workspace";
import { t } from "@/strings/en";

export type CommandGroup = keyof typeof t.palette.groups;

export interface Command {
  id: string;
  title: string;
  group: CommandGroup;
  /** Chords in the notation of `ui/chord`; the first is shown. */
  keys?: string[];
  /** Works while the focus is in a terminal; other keys belong to the programs in it. */
  inTerminal?: boolean;
  /** Changes something that all can see, so it is not for viewers. */
  edits?: boolean;
  /** Not in the palette: it only has keys. */
  hidden?: boolean;
  run: (ws: Workspace) => void;
}

function toggleSidebar(view: SidebarView) {
  const { sidebarOpen, sidebarView } = useLayout.getState();
  changeLayout({ sidebarOpen: !(sidebarOpen && sidebarView === view), sidebarView: view });
}

function showSidebar(view: SidebarView) {
  changeLayout({ sidebarOpen: true, sidebarView: view, mobilePane: "files" });
}

function resizeText(step: number) {
  const { editorFontSize, change } = useSettings.getState();
  const next = Math.min(FONT_SIZES.max, Math.max(FONT_SIZES.min, editorFontSize + step));
  change({ editorFontSize: next });
}

function closeActive(ws: Workspace) {
  const state = ws.tabs.getState();
  const tab = activeTab(state);
  if (tab !== null) ws.tabs.setState((tabs) => closeTabs(tabs, state.focused, [tab.file]));
}

function switchTheme() {
  const { change } = useSettings.getState();
  change({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" });
}

const c = t.commands;

export const COMMANDS: Command[] = [
  {
    id: "file.open",
    title: c.quickOpen,
    group: "file",
    keys: ["Mod+P"],
    run: (ws) => ws.show("files"),
  },
  {
    id: "file.new",
    title: c.newFile,
    group: "file",
    keys: ["Alt+N"],
    edits: true,
    run: (ws) => startDraft(ws, "file"),
  },
  {
    id: "file.newFolder",
    title: c.newFolder,
    group: "file",
    edits: true,
    run: (ws) => startDraft(ws, "folder"),
  },
  {
    id: "file.upload",
    title: c.upload,
    group: "file",
    edits: true,
    run: (ws) => void chooseAndUpload(ws, ""),
  },
  {
    id: "file.reveal",
    title: c.reveal,
    group: "file",
    run: (ws) => {
      const tab = activeTab(ws.tabs.getState());
      if (tab !== null) void revealInTree(ws, tab.path);
    },
  },
  { id: "tab.close", title: c.closeTab, group: "file", keys: ["Alt+W"], run: closeActive },
  {
    id: "tab.reopen",
    title: c.reopenTab,
    group: "file",
    keys: ["Mod+Shift+T", "Alt+Shift+T"],
    run: (ws) => ws.tabs.setState(reopenTab),
  },
  {
    id: "tab.next",
    title: c.nextTab,
    group: "file",
    keys: ["Alt+PageDown"],
    run: (ws) => ws.tabs.setState((tabs) => cycleTab(tabs, 1)),
  },
  {
    id: "tab.previous",
    title: c.previousTab,
    group: "file",
    keys: ["Alt+PageUp"],
    run: (ws) => ws.tabs.setState((tabs) => cycleTab(tabs, -1)),
  },
  {
    id: "edit.find",
    title: c.find,
    group: "edit",
    run: (ws) => ws.editor.getState().editor?.openSearch(),
  },
  {
    id: "edit.line",
    title: c.goToLine,
    group: "edit",
    keys: ["Mod+G"],
    run: (ws) => ws.show("line"),
  },
  {
    id: "edit.comment",
    title: c.comment,
    group: "edit",
    edits: true,
    run: (ws) => ws.editor.getState().editor?.toggleComment(),
  },
  {
    id: "edit.undo",
    title: c.undo,
    group: "edit",
    edits: true,
    run: (ws) => ws.editor.getState().editor?.undo(),
  },
  {
    id: "edit.redo",
    title: c.redo,
    group: "edit",
    edits: true,
    run: (ws) => ws.editor.getState().editor?.redo(),
  },
  {
    id: "view.palette",
    title: c.palette,
    group: "view",
    keys: ["Mod+Shift+P", "F1"],
    inTerminal: true,
    hidden: true,
    run: (ws) => ws.show("commands"),
  },
  {
    id: "view.sidebar",
    title: c.sidebar,
    group: "view",
    keys: ["Mod+B"],
    run: () => changeLayout({ sidebarOpen: !useLayout.getState().sidebarOpen }),
  },
  {
    id: "view.files",
    title: c.files,
    group: "view",
    keys: ["Mod+Shift+E"],
    inTerminal: true,
    run: () => {
      toggleSidebar("files");
      requestAnimationFrame(() => document.getElementById("tree")?.focus());
    },
  },
  {
    id: "view.history",
    title: c.history,
    group: "view",
    keys: ["Mod+Shift+H"],
    run: () => toggleSidebar("history"),
  },
  {
    id: "view.blame",
    title: c.blame,
    group: "view",
    keys: ["Alt+B"],
    run: () => useSettings.setState(({ blame }) => ({ blame: !blame })),
  },
  { id: "view.ports", title: c.ports, group: "view", run: () => showSidebar("ports") },
  {
    id: "view.settings",
    title: c.settings,
    group: "view",
    keys: ["Mod+,"],
    run: () => showSidebar("settings"),
  },
  {
    id: "view.panel",
    title: c.panel,
    group: "view",
    keys: ["Mod+J"],
    run: () => changeLayout({ panelOpen: !useLayout.getState().panelOpen }),
  },
  {
    id: "view.preview",
    title: c.preview,
    group: "view",
    keys: ["Mod+Alt+B"],
    run: () => {
      const { rightOpen, rightView } = useLayout.getState();
      const open = !(rightOpen && rightView === "preview");
      changeLayout({ rightOpen: open, rightView: "preview", mobilePane: "preview" });
    },
  },
  {
    id: "view.split",
    title: c.split,
    group: "view",
    keys: ["Mod+\\"],
    run: (ws) => ws.tabs.setState(splitTabs),
  },
  { id: "view.theme", title: c.theme, group: "view", run: switchTheme },
  {
    id: "view.wrap",
    title: c.wrap,
    group: "view",
    keys: ["Alt+Z"],
    run: () => useSettings.setState(({ wrap }) => ({ wrap: !wrap })),
  },
  { id: "view.larger", title: c.larger, group: "view", run: () => resizeText(1) },
  { id: "view.smaller", title: c.smaller, group: "view", run: () => resizeText(-1) },
  {
    id: "run.toggle",
    title: c.runOrStop,
    group: "run",
    keys: ["Mod+Enter"],
    inTerminal: true,
    edits: true,
    run: (ws) => void (isRunning(ws) ? stop(ws) : run(ws)),
  },
  { id: "run.console", title: c.console, group: "run", run: showConsole },
  {
    id: "terminal.toggle",
    title: c.terminal,
    group: "run",
    keys: ["Mod+`", "Ctrl+`"],
    inTerminal: true,
    run: (ws) => void toggleTerminal(ws),
  },
  {
    id: "terminal.new",
    title: c.newShell,
    group: "run",
    keys: ["Mod+Shift+`"],
    inTerminal: true,
    edits: true,
    run: (ws) => void newShell(ws),
  },
  { id: "repl.share", title: c.share, group: "repl", run: (ws) => ws.show("share") },
  {
    id: "repl.export",
    title: c.exportZip,
    group: "repl",
    run: (ws) => download(archiveUrl(ws.repl)),
  },
  {
    id: "repl.import",
    title: c.importZip,
    group: "repl",
    edits: true,
    run: (ws) => void chooseAndImport(ws),
  },
  { id: "repl.home", title: c.home, group: "repl", run: () => window.location.assign("/") },
  { id: "repl.reconnect", title: c.reconnect, group: "repl", run: (ws) => ws.page.reconnect() },
  {
    id: "help.keys",
    title: c.keys,
    group: "help",
    keys: ["Shift+/"],
    run: (ws) => ws.show("keys"),
  },
];
