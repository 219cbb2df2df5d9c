import { useSyncExternalStore } from "react";
import type { TerminalId } from "@/gen/api";
import type { TerminalOnScreen } from "@/session/contract";
import { newShell } from "@/features/run/actions";
import { useEditBlock, useRepl, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import styles from "./Panel.module.css";

interface TerminalBannerProps {
  id: TerminalId;
  terminal: TerminalOnScreen;
  shell: boolean;
}

/** One line above a terminal when something about it is worth saying. */
export function TerminalBanner({ id, terminal, shell }: TerminalBannerProps) {
  const ws = useWorkspace();
  const state = useSyncExternalStore(terminal.subscribe, terminal.getSnapshot);
  const people = useRepl(({ live }) => live?.people);
  const restored = useRepl(({ live }) => live?.terminals.find((one) => one.id === id)?.restored);
  const blocked = useEditBlock();
  const { connection, driver, driving } = state;
  if (connection.state === "refused") return <p className={styles.banner}>{t.terminal.refused}</p>;
  if (connection.state === "waiting") return <p className={styles.banner}>{t.terminal.waiting}</p>;
  if (restored === true && shell) {
    return (
      <p className={styles.banner}>
        {t.terminal.restored}
        {blocked === undefined && (
          <Button size="small" variant="ghost" onClick={() => terminal.send("\r")}>
            {t.terminal.restart}
          </Button>
        )}
      </p>
    );
  }
  if (state.exit !== null && shell) {
    return (
      <p className={styles.banner}>
        {t.terminal.exited}
        {blocked === undefined && (
          <Button size="small" variant="ghost" onClick={() => void newShell(ws)}>
            {t.terminal.openNew}
          </Button>
        )}
      </p>
    );
  }
  const other =
    !shell || driving || state.exit !== null
      ? undefined
      : people?.find((one) => one.member === driver);
  if (other === undefined) return null;
  return (
    <p className={styles.banner}>
      <span className={styles.driverDot} style={{ background: other.colour }} />
      {t.terminal.drives(other.name)}
      {blocked === undefined && (
        <Button size="small" variant="ghost" onClick={() => terminal.drive()}>
          {t.terminal.drive}
        </Button>
      )}
    </p>
  );
}
