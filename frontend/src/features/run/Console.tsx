import {
  CircleCheck,
  CircleSlash,
  CircleX,
  PanelBottom,
  PanelRight,
  Play,
  Square,
} from "lucide-react";
import type { ReactNode } from "react";
import { useLayout } from "@/features/layout/layout";
import { useCompact } from "@/features/layout/useCompact";
import { TerminalBox } from "@/features/panel/TerminalBox";
import { useEditBlock, useLive, useSurface, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Spinner } from "@/ui/Spinner";
import { run, stop } from "./actions";
import { NeverRun } from "./NeverRun";
import { outcomeOf, outcomeText, type Outcome } from "./outcome";
import styles from "./Run.module.css";

const marks: Record<Outcome, ReactNode> = {
  running: <Spinner size={12} />,
  good: <CircleCheck size={14} />,
  bad: <CircleX size={14} />,
  stopped: <CircleSlash size={14} />,
};

/** The output of Run, with how it went. */
export function Console({ focus }: { focus: boolean }) {
  const compact = useCompact();
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const last = useLive((live) => live.run);
  const starting = useSurface((surface) => surface.starting);
  const starter = useLive(
    ({ people, run: now }) => people.find(({ member }) => member === now?.member)?.name ?? "",
  );
  if (last === null) return <NeverRun />;
  const running = last.exit === null;
  return (
    <div className={styles.console}>
      <div className={styles.bar}>
        <span className={styles.outcome} data-outcome={outcomeOf(last.exit)} role="status">
          {marks[outcomeOf(last.exit)]}
          {outcomeText(last)}
        </span>
        <code className={styles.command} title={starter ? t.run.startedBy(starter) : undefined}>
          {last.command}
        </code>
        {running ? (
          <Button
            size="small"
            icon={<Square size={11} fill="currentColor" />}
            blocked={blocked}
            onClick={() => void stop(ws)}
          >
            {t.run.stop}
          </Button>
        ) : (
          <Button
            size="small"
            icon={<Play size={12} />}
            blocked={blocked}
            busy={starting}
            onClick={() => void run(ws, last.task)}
          >
            {t.run.runAgain}
          </Button>
        )}
        {!compact && <MoveConsole />}
      </div>
      <TerminalBox key={last.terminal} terminal={last.terminal} shell={false} focus={focus} />
    </div>
  );
}

function MoveConsole() {
  const consoleAt = useLayout((layout) => layout.consoleAt);
  const change = useLayout((layout) => layout.change);
  return consoleAt === "bottom" ? (
    <IconButton
      size="small"
      className={styles.move}
      label={t.run.consoleToRight}
      onClick={() => change({ consoleAt: "right", rightOpen: true, rightView: "console" })}
    >
      <PanelRight size={14} />
    </IconButton>
  ) : (
    <IconButton
      size="small"
      className={styles.move}
      label={t.run.consoleToBottom}
      onClick={() => change({ consoleAt: "bottom", panelOpen: true, rightView: "preview" })}
    >
      <PanelBottom size={14} />
    </IconButton>
  );
}
