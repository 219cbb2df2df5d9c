/** Running the program and opening shells. */
import * as api from "@/api/client";
import { ProblemError } from "@/api/problem";
import type { TerminalId } from "@/gen/api";
import { changeLayout, useLayout } from "@/features/layout/layout";
import { create, openPath } from "@/features/files/actions";
import { terminalLook } from "@/features/panel/look";
import type { Workspace } from "@/features/workspace/workspace";
import { t } from "@/strings/en";
import { complain } from "@/ui/Toaster";

/** Edits must have reached the server before Run, so that it runs what the editors show. */
const ACK_LIMIT_MS = 5000;

/** Shows the console where it is. */
export function showConsole(ws: Workspace): void {
  const { consoleAt } = useLayout.getState();
  if (consoleAt === "right") changeLayout({ rightOpen: true, rightView: "console" });
  else changeLayout({ panelOpen: true });
  changeLayout({ mobilePane: "terminal" });
  ws.surface.setState({ terminal: null, terminalWanted: false });
}

export function isRunning(ws: Workspace): boolean {
  const run = ws.page.getSnapshot().live?.run;
  return run !== null && run !== undefined && run.exit === null;
}

/** Runs a task as the editors show it. */
export async function run(ws: Workspace, task?: string): Promise<void> {
  if (ws.surface.getState().starting) return;
  ws.surface.setState({ starting: true });
  showConsole(ws);
  try {
    await ws.page.acknowledged(ACK_LIMIT_MS);
  } catch {
    ws.surface.setState({ starting: false });
    complain(t.run.failed, t.run.unsaved);
    return;
  }
  try {
    await api.run(ws.repl, task === undefined ? {} : { task });
  } catch (error) {
    // The task is what was not found: nothing says how this repl is run.
    const nothing = error instanceof ProblemError && error.status === 404;
    if (nothing) {
      complain(t.run.nothingTitle, t.run.nothingBody, {
        label: t.run.openConfig,
        run: () => void openConfig(ws),
      });
    } else {
      complain(t.run.failed, error instanceof Error ? error.message : undefined);
    }
  } finally {
    ws.surface.setState({ starting: false });
  }
}

export async function stop(ws: Workspace): Promise<void> {
  try {
    await api.stop(ws.repl);
  } catch (error) {
    complain(t.run.stopFailed, error instanceof Error ? error.message : undefined);
  }
}

/** Opens the file that says how the repl is run, making it when there is none. */
export async function openConfig(ws: Workspace): Promise<void> {
  if (!(await openPath(ws, "tandem.toml"))) await create(ws, "file", "tandem.toml");
}

/** Opens a new shell and shows it. */
export async function newShell(ws: Workspace): Promise<void> {
  changeLayout({ panelOpen: true, mobilePane: "terminal" });
  try {
    const terminal = await api.createTerminal(ws.repl);
    void ws.terminals.get(terminal.id, { ...terminalLook(), fresh: true });
    ws.surface.setState({ terminal: terminal.id, terminalWanted: true });
  } catch (error) {
    complain(t.terminal.createFailed, error instanceof Error ? error.message : undefined);
  }
}

export async function closeShell(ws: Workspace, terminal: TerminalId): Promise<void> {
  try {
    await api.deleteTerminal(ws.repl, terminal);
  } catch (error) {
    complain(t.terminal.closeFailed, error instanceof Error ? error.message : undefined);
  }
}

/** Ctrl+`: shows a shell, opening one if there is none; hides the panel when it is in view. */
export async function toggleTerminal(ws: Workspace): Promise<void> {
  const { panelOpen } = useLayout.getState();
  const { terminal } = ws.surface.getState();
  if (panelOpen && terminal !== null) {
    changeLayout({ panelOpen: false });
    return;
  }
  const shells = ws.page.getSnapshot().live?.terminals.filter(({ kind }) => kind === "shell") ?? [];
  const last = shells[shells.length - 1];
  if (last === undefined) {
    if (ws.page.getSnapshot().role === "viewer") changeLayout({ panelOpen: true });
    else await newShell(ws);
    return;
  }
  changeLayout({ panelOpen: true, mobilePane: "terminal" });
  ws.surface.setState({ terminal: last.id, terminalWanted: true });
}
