import { useEffect } from "react";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { isMac } from "@/ui/chord";
import { complain } from "@/ui/Toaster";
import { commandFor, placeOf } from "./keymap";
import type { Command } from "./commands";
import type { Workspace } from "@/features/workspace/workspace";

/** Runs a command, or says why this person may not. */
export function perform(ws: Workspace, command: Command): void {
  if (command.edits === true && ws.page.getSnapshot().role === "viewer") {
    complain(t.workspace.viewerReason);
    return;
  }
  command.run(ws);
}

/** Listens for the keys of commands before anything else does. */
export function useKeys(): void {
  const ws = useWorkspace();
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.isComposing || event.repeat) return;
      const command = commandFor(event, placeOf(event.target), isMac);
      if (command === null) return;
      event.preventDefault();
      event.stopPropagation();
      perform(ws, command);
    };
    window.addEventListener("keydown", onKeyDown, { capture: true });
    return () => window.removeEventListener("keydown", onKeyDown, { capture: true });
  }, [ws]);
}
