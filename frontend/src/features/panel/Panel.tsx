import { Plus, SquareTerminal, X } from "lucide-react";
import { useMemo } from "react";
import type { TerminalInfo } from "@/gen/api";
import { useLayout } from "@/features/layout/layout";
import { newShell } from "@/features/run/actions";
import { Console } from "@/features/run/Console";
import { useEditBlock, useLive, useSurface, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Message } from "@/ui/Message";
import { PanelTabs } from "./PanelTabs";
import { TerminalBox } from "./TerminalBox";
import styles from "./Panel.module.css";

const NO_TERMINALS: TerminalInfo[] = [];

/** The terminals of the repl, and the console when it is at the bottom. */
export function Panel({ compact }: { compact: boolean }) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const terminals = useLive((live) => live.terminals) ?? NO_TERMINALS;
  const chosen = useSurface((surface) => surface.terminal);
  const consoleHere = useLayout((layout) => layout.consoleAt === "bottom") || compact;
  const change = useLayout((layout) => layout.change);
  const shells = useMemo(() => terminals.filter(({ kind }) => kind === "shell"), [terminals]);
  const shown = shells.find(({ id }) => id === chosen) ?? (consoleHere ? undefined : shells[0]);
  const wanted = useSurface((surface) => surface.terminalWanted);

  return (
    <section className={styles.panel} aria-label={t.terminal.tabs}>
      <header className={styles.header}>
        <PanelTabs shells={shells} shown={shown?.id ?? null} consoleHere={consoleHere} />
        <IconButton
          size="small"
          label={t.terminal.new}
          blocked={blocked}
          onClick={() => void newShell(ws)}
        >
          <Plus size={15} />
        </IconButton>
        <span className={styles.space} />
        {!compact && (
          <IconButton
            size="small"
            label={t.terminal.hide}
            keys="Mod+J"
            onClick={() => change({ panelOpen: false })}
          >
            <X size={15} />
          </IconButton>
        )}
      </header>
      <div className={styles.body} role="tabpanel">
        {shown !== undefined ? (
          <TerminalBox key={shown.id} terminal={shown.id} shell focus={wanted} />
        ) : consoleHere ? (
          <Console focus={wanted} />
        ) : (
          <Message
            icon={<SquareTerminal size={26} strokeWidth={1.5} />}
            title={t.terminal.emptyTitle}
            action={
              <Button blocked={blocked} onClick={() => void newShell(ws)}>
                {t.terminal.new}
              </Button>
            }
          >
            {t.terminal.emptyBody}
          </Message>
        )}
      </div>
    </section>
  );
}
