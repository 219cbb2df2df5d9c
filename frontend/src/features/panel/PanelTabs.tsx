import { ScrollText, SquareTerminal, X } from "lucide-react";
import type { KeyboardEvent } from "react";
import type { PersonInfo, TerminalId, TerminalInfo } from "@/gen/api";
import { closeShell } from "@/features/run/actions";
import { exitMark } from "@/features/run/outcome";
import { useEditBlock, useLive, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Spinner } from "@/ui/Spinner";
import styles from "./Panel.module.css";

interface PanelTabsProps {
  shells: readonly TerminalInfo[];
  /** The shell in front; null is the console. */
  shown: TerminalId | null;
  consoleHere: boolean;
}

/** The console and the shells as tabs. */
export function PanelTabs({ shells, shown, consoleHere }: PanelTabsProps) {
  const ws = useWorkspace();
  const running = useLive((live) => live.run !== null && live.run.exit === null);
  const people = useLive((live) => live.people);
  const choose = (terminal: TerminalId | null) =>
    ws.surface.setState({ terminal, terminalWanted: true });
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>('[role="tab"]')];
    const next = tabs[tabs.findIndex((tab) => tab === document.activeElement) + step];
    next?.focus();
    next?.click();
  };
  return (
    <div role="tablist" aria-label={t.terminal.tabs} className={styles.tabs} onKeyDown={onKeyDown}>
      {consoleHere && (
        <button
          type="button"
          role="tab"
          id={shown === null ? "panel-tabs" : undefined}
          tabIndex={shown === null ? 0 : -1}
          aria-selected={shown === null}
          className={styles.tab}
          onClick={() => choose(null)}
        >
          {running === true ? <Spinner size={12} /> : <ScrollText size={14} aria-hidden />}
          {t.run.console}
        </button>
      )}
      {shells.map((shell) => (
        <ShellTab
          key={shell.id}
          shell={shell}
          active={shown === shell.id}
          driver={people?.find(({ member }) => member === shell.driver)}
          onChoose={() => choose(shell.id)}
        />
      ))}
    </div>
  );
}

interface ShellTabProps {
  shell: TerminalInfo;
  active: boolean;
  driver: PersonInfo | undefined;
  onChoose: () => void;
}

function ShellTab({ shell, active, driver, onChoose }: ShellTabProps) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const title = shell.title === "" ? t.terminal.shell : shell.title;
  const close = () => void closeShell(ws, shell.id);
  return (
    <span className={styles.tabBox} data-active={active || undefined}>
      <button
        type="button"
        role="tab"
        id={active ? "panel-tabs" : undefined}
        tabIndex={active ? 0 : -1}
        aria-selected={active}
        className={styles.tab}
        title={driver === undefined ? title : `${title} – ${t.terminal.drives(driver.name)}`}
        onClick={onChoose}
        onAuxClick={(event) => event.button === 1 && blocked === undefined && close()}
      >
        <SquareTerminal size={14} aria-hidden />
        <span className={styles.tabName}>{title}</span>
        {driver !== undefined && (
          <span className={styles.driverDot} style={{ background: driver.colour }} />
        )}
        {shell.exit !== null && <span className={styles.exit}>{exitMark(shell.exit)}</span>}
      </button>
      {blocked === undefined && (
        <button
          type="button"
          tabIndex={-1}
          className={styles.tabClose}
          aria-label={t.terminal.close(title)}
          onClick={close}
        >
          <X size={12} />
        </button>
      )}
    </span>
  );
}
