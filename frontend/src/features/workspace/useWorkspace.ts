import { createContext, useContext, useSyncExternalStore } from "react";
import { useStore } from "zustand";
import type { LiveState, Role } from "@/gen/api";
import type { ReplSnapshot } from "@/session/model";
import type { HistoryShown } from "@/features/history/shown";
import type { TabsState } from "@/features/tabs/model";
import { t } from "@/strings/en";
import type { EditorState, Surface, Workspace } from "./workspace";

export const WorkspaceContext = createContext<Workspace | null>(null);

/** The workspace around this component. */
export function useWorkspace(): Workspace {
  const workspace = useContext(WorkspaceContext);
  if (workspace === null) throw new Error("used outside of a workspace");
  return workspace;
}

/** A part of the repl's state. The selector must return parts as they are, not new objects. */
export function useRepl<T>(select: (snapshot: ReplSnapshot) => T): T {
  const { page } = useWorkspace();
  return useSyncExternalStore(page.subscribe, () => select(page.getSnapshot()));
}

/** A part of the server's live state; `null` until it came. */
export function useLive<T>(select: (live: LiveState) => T): T | null {
  return useRepl(({ live }) => (live === null ? null : select(live)));
}

export function useRole(): Role {
  return useRepl(({ role }) => role);
}

/** Why this person may not change anything; undefined when they may. */
export function useEditBlock(): string | undefined {
  return useRole() === "viewer" ? t.workspace.viewerReason : undefined;
}

export function useTabs<T>(select: (tabs: TabsState) => T): T {
  return useStore(useWorkspace().tabs, select);
}

export function useEditorState<T>(select: (state: EditorState) => T): T {
  return useStore(useWorkspace().editor, select);
}

export function useHistoryShown<T>(select: (shown: HistoryShown) => T): T {
  return useStore(useWorkspace().history, select);
}

export function useSurface<T>(select: (surface: Surface) => T): T {
  return useStore(useWorkspace().surface, select);
}
