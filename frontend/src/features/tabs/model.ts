/**
 * Open files as plain data: one or two groups of tabs side by side. Every function takes a state
 * and returns the next one; an unchanged state comes back as the same object.
 */
import type { FileId } from "@/gen/api";

/** How a file is shown. */
export type TabKind = "text" | "blob";

export interface Tab {
  file: FileId;
  path: string;
  kind: TabKind;
  /** In italics: the next opened file takes its place. */
  preview: boolean;
}

export interface Group {
  tabs: readonly Tab[];
  active: FileId | null;
  /** Files in the order they were last in front, the newest first. */
  recent: readonly FileId[];
}

export interface TabsState {
  groups: readonly Group[];
  /** The group that gets what is opened next. */
  focused: number;
  /** Closed tabs, the newest last. */
  closed: readonly { tab: Tab; at: number }[];
}

export const EMPTY_GROUP: Group = { tabs: [], active: null, recent: [] };
export const EMPTY_TABS: TabsState = { groups: [EMPTY_GROUP], focused: 0, closed: [] };

const MAX_CLOSED = 20;

export interface Opening {
  file: FileId;
  path: string;
  kind: TabKind;
  preview: boolean;
}

function replace(state: TabsState, index: number, group: Group): TabsState {
  return { ...state, groups: state.groups.map((one, at) => (at === index ? group : one)) };
}

function inFront(group: Group, file: FileId): Group {
  return { ...group, active: file, recent: [file, ...group.recent.filter((id) => id !== file)] };
}

/** Opens a file in the focused group, or brings its tab to the front. */
export function openTab(state: TabsState, opening: Opening): TabsState {
  const group = state.groups[state.focused] ?? EMPTY_GROUP;
  const existing = group.tabs.find((tab) => tab.file === opening.file);
  if (existing !== undefined) {
    const tab = { ...existing, path: opening.path, preview: existing.preview && opening.preview };
    const tabs = group.tabs.map((one) => (one === existing ? tab : one));
    return replace(state, state.focused, inFront({ ...group, tabs }, opening.file));
  }
  const tab: Tab = { ...opening };
  const previewAt = group.tabs.findIndex((one) => one.preview);
  const activeAt = group.tabs.findIndex((one) => one.file === group.active);
  const tabs = [...group.tabs];
  if (previewAt >= 0) tabs.splice(previewAt, 1, tab);
  else tabs.splice(activeAt + 1, 0, tab);
  const recent = group.recent.filter((id) => tabs.some((one) => one.file === id));
  return replace(state, state.focused, inFront({ ...group, tabs, recent }, tab.file));
}

/** Makes a preview tab stay. */
export function pinTab(state: TabsState, file: FileId): TabsState {
  if (!state.groups.some((group) => group.tabs.some((tab) => tab.file === file && tab.preview))) {
    return state;
  }
  const groups = state.groups.map((group) => ({
    ...group,
    tabs: group.tabs.map((tab) => (tab.file === file ? { ...tab, preview: false } : tab)),
  }));
  return { ...state, groups };
}

/** Brings a tab to the front and focuses its group. */
export function activateTab(state: TabsState, index: number, file: FileId): TabsState {
  const group = state.groups[index];
  if (group === undefined || !group.tabs.some((tab) => tab.file === file)) return state;
  if (group.active === file && state.focused === index) return state;
  return { ...replace(state, index, inFront(group, file)), focused: index };
}

/** Closes tabs of one group; an emptied second group goes away. */
export function closeTabs(state: TabsState, index: number, files: readonly FileId[]): TabsState {
  const group = state.groups[index];
  if (group === undefined) return state;
  const closing = group.tabs
    .map((tab, at) => ({ tab, at }))
    .filter(({ tab }) => files.includes(tab.file));
  if (closing.length === 0) return state;
  const tabs = group.tabs.filter((tab) => !files.includes(tab.file));
  const recent = group.recent.filter((id) => !files.includes(id));
  const stays = group.active !== null && !files.includes(group.active);
  const active = stays ? group.active : (recent[0] ?? tabs[0]?.file ?? null);
  const closed = [...state.closed, ...closing].slice(-MAX_CLOSED);
  const next = { ...replace(state, index, { tabs, active, recent }), closed };
  return tabs.length === 0 && state.groups.length > 1 ? closeGroup(next, index) : next;
}

/** Closes one side; its tabs go with it. */
export function closeGroup(state: TabsState, index: number): TabsState {
  if (state.groups.length < 2) return state;
  return { ...state, groups: state.groups.filter((_, at) => at !== index), focused: 0 };
}

/** Opens the last closed tab again where it was. */
export function reopenTab(state: TabsState): TabsState {
  const last = state.closed[state.closed.length - 1];
  if (last === undefined) return state;
  const closed = state.closed.slice(0, -1);
  const group = state.groups[state.focused] ?? EMPTY_GROUP;
  if (group.tabs.some((tab) => tab.file === last.tab.file)) {
    return reopenTab({ ...state, closed });
  }
  const tabs = [...group.tabs];
  tabs.splice(Math.min(last.at, tabs.length), 0, { ...last.tab, preview: false });
  return { ...replace(state, state.focused, inFront({ ...group, tabs }, last.tab.file)), closed };
}

export interface Place {
  group: number;
  index: number;
}

/** Moves a tab to another place, also to the other side. */
export function moveTab(state: TabsState, from: number, file: FileId, to: Place): TabsState {
  const source = state.groups[from];
  const at = source?.tabs.findIndex((tab) => tab.file === file) ?? -1;
  const tab = source?.tabs[at];
  const target = state.groups[to.group];
  if (source === undefined || tab === undefined || target === undefined) return state;
  if (from === to.group) {
    const index = to.index > at ? to.index - 1 : to.index;
    if (index === at) return state;
    const tabs = source.tabs.filter((one) => one !== tab);
    tabs.splice(index, 0, tab);
    return replace(state, from, { ...source, tabs });
  }
  const kept = target.tabs.filter((one) => one.file !== file);
  kept.splice(Math.min(to.index, kept.length), 0, { ...tab, preview: false });
  const arrived = replace(state, to.group, inFront({ ...target, tabs: kept }, file));
  const left = closeTabs({ ...arrived, focused: to.group }, from, [file]);
  return { ...left, closed: state.closed };
}

/** Shows the active file on a second side too; with two sides, moves the focus over. */
export function splitTabs(state: TabsState): TabsState {
  if (state.groups.length > 1) return { ...state, focused: state.focused === 0 ? 1 : 0 };
  const group = state.groups[0] ?? EMPTY_GROUP;
  const tab = group.tabs.find((one) => one.file === group.active);
  if (tab === undefined) return state;
  const second = inFront({ ...EMPTY_GROUP, tabs: [{ ...tab, preview: false }] }, tab.file);
  return { ...state, groups: [group, second], focused: 1 };
}

/** The next (1) or previous (−1) tab of the focused group. */
export function cycleTab(state: TabsState, step: 1 | -1): TabsState {
  const group = state.groups[state.focused];
  if (group === undefined || group.tabs.length < 2) return state;
  const at = group.tabs.findIndex((tab) => tab.file === group.active);
  const next = group.tabs[(at + step + group.tabs.length) % group.tabs.length];
  return next === undefined ? state : activateTab(state, state.focused, next.file);
}

/** Takes over where files are now; ids that are not in `paths` keep theirs. */
export function renameTabs(state: TabsState, paths: ReadonlyMap<FileId, string>): TabsState {
  const moved = (tab: Tab) => {
    const path = paths.get(tab.file);
    return path !== undefined && path !== tab.path;
  };
  if (!state.groups.some((group) => group.tabs.some(moved))) return state;
  const groups = state.groups.map((group) => ({
    ...group,
    tabs: group.tabs.map((tab) => (moved(tab) ? { ...tab, path: paths.get(tab.file) ?? "" } : tab)),
  }));
  return { ...state, groups };
}

/** The tab in front of the focused group. */
export function activeTab(state: TabsState): Tab | null {
  const group = state.groups[state.focused];
  return group?.tabs.find((tab) => tab.file === group.active) ?? null;
}

/** The shortest endings of paths that tell tabs of the same name apart: `main.py` → `src`. */
export function tabHints(tabs: readonly Tab[]): Map<FileId, string> {
  const byName = new Map<string, Tab[]>();
  for (const tab of tabs) {
    const name = tab.path.slice(tab.path.lastIndexOf("/") + 1);
    byName.set(name, [...(byName.get(name) ?? []), tab]);
  }
  const hints = new Map<FileId, string>();
  for (const same of byName.values()) {
    if (same.length < 2) continue;
    for (const tab of same) {
      hints.set(tab.file, tab.path.split("/").slice(-2, -1)[0] ?? "/");
    }
  }
  return hints;
}
