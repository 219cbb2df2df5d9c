/** Shows the past over the editor, and the present again. */
import { changeLayout } from "@/features/layout/layout";
import type { Workspace } from "@/features/workspace/workspace";
import type { RescuedText } from "@/session/model";
import type { ShownPlayback, ShownVersion } from "./shown";

export function showVersion(ws: Workspace, version: Omit<ShownVersion, "kind">): void {
  ws.history.setState({ shown: { kind: "version", ...version } });
  changeLayout({ mobilePane: "editor" });
}

export function showPlayback(ws: Workspace, playback: Omit<ShownPlayback, "kind">): void {
  ws.history.setState({ shown: { kind: "playback", ...playback } });
  changeLayout({ mobilePane: "editor" });
}

export function showRescue(ws: Workspace, text: RescuedText): void {
  ws.history.setState({ shown: { kind: "rescue", text } });
  changeLayout({ mobilePane: "editor" });
}

export function showPresent(ws: Workspace): void {
  ws.history.setState({ shown: null });
  ws.editor.getState().editor?.focus();
}
