import { useEffect, useRef, useState } from "react";
import type { TerminalId } from "@/gen/api";
import type { TerminalOnScreen } from "@/session/contract";
import { useSettings } from "@/features/settings/settings";
import { useTheme } from "@/features/settings/theme";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { terminalLook } from "./look";
import { TerminalBanner } from "./TerminalBanner";
import styles from "./Panel.module.css";

interface TerminalBoxProps {
  terminal: TerminalId;
  /** An interactive shell, not the console. */
  shell: boolean;
  /** Takes the focus when it appears. */
  focus: boolean;
}

/** The box a terminal draws itself into. */
export function TerminalBox({ terminal, shell, focus }: TerminalBoxProps) {
  const ws = useWorkspace();
  const box = useRef<HTMLDivElement>(null);
  const [shown, setShown] = useState<TerminalOnScreen | null>(null);
  const theme = useTheme();
  const fontSize = useSettings((settings) => settings.terminalFontSize);
  const screenReader = useSettings((settings) => settings.screenReader);

  useEffect(() => {
    let alive = true;
    let attached: TerminalOnScreen | null = null;
    void ws.terminals.get(terminal, terminalLook()).then((ready) => {
      if (!alive || box.current === null) return;
      ready.attach(box.current);
      attached = ready;
      setShown(ready);
    });
    return () => {
      alive = false;
      attached?.detach();
      setShown(null);
    };
  }, [ws, terminal]);

  useEffect(() => {
    if (focus) shown?.focus();
  }, [shown, focus]);
  useEffect(() => {
    // The page's variables change in the same pass; they are read again after it.
    const frame = requestAnimationFrame(() => shown?.restyle());
    return () => cancelAnimationFrame(frame);
  }, [shown, theme]);
  useEffect(() => shown?.setScreenReader(screenReader), [shown, screenReader]);
  useEffect(() => shown?.setFontSize(fontSize), [shown, fontSize]);

  return (
    <div className={styles.terminal}>
      {shown !== null && <TerminalBanner id={terminal} terminal={shown} shell={shell} />}
      <div ref={box} className={styles.screen} data-terminal={terminal} />
    </div>
  );
}
