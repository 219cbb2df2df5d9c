import { useEffect, useState } from "react";
import type { TerminalId } from "@/gen/api";
import type { TerminalOnScreen } from "@/session/contract";
import { terminalLook } from "@/features/panel/look";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import styles from "./Preview.module.css";

const LINES = 8;
const LOOK_MS = 400;

/** What a program said last. */
export function LastLines({ terminal }: { terminal: TerminalId }) {
  const ws = useWorkspace();
  const [lines, setLines] = useState<string[]>([]);
  useEffect(() => {
    let shown: TerminalOnScreen | null = null;
    void ws.terminals.get(terminal, terminalLook()).then((ready) => {
      shown = ready;
    });
    // The output of a terminal is not kept in any state; it is looked at while this is in view.
    const timer = setInterval(() => {
      const now = shown?.lastLines(LINES) ?? [];
      setLines((before) => (before.join("\n") === now.join("\n") ? before : now));
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [ws, terminal]);
  if (lines.length === 0) return <>{t.preview.crashedBody}</>;
  return <pre className={styles.lastLines}>{lines.join("\n")}</pre>;
}
