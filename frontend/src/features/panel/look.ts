import { useSettings } from "@/features/settings/settings";
import type { TerminalOptions } from "@/session/contract";

/** How terminals look and where the focus goes when it leaves one. */
export function terminalLook(): Pick<TerminalOptions, "fontSize" | "screenReader" | "onLeave"> {
  const { terminalFontSize, screenReader } = useSettings.getState();
  return {
    fontSize: terminalFontSize,
    screenReader,
    onLeave: () => document.getElementById("panel-tabs")?.focus(),
  };
}
