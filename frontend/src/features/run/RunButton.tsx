import { ChevronDown, Play, Square } from "lucide-react";
import { useEditBlock, useLive, useSurface, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Menu } from "@/ui/Menu";
import { run, stop } from "./actions";
import styles from "./Run.module.css";

/** Run, or Stop while something runs; other tasks behind the arrow. */
export function RunButton() {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const running = useLive((live) => live.run !== null && live.run.exit === null) ?? false;
  const tasks = useLive((live) => live.tasks) ?? [];
  const starting = useSurface((surface) => surface.starting);
  if (running) {
    return (
      <Button
        className={styles.main}
        variant="halt"
        icon={<Square size={11} fill="currentColor" />}
        keys="Mod+Enter"
        blocked={blocked}
        onClick={() => void stop(ws)}
      >
        {t.run.stop}
      </Button>
    );
  }
  const several = tasks.length > 1;
  return (
    <span className={styles.split} data-several={several || undefined}>
      <Button
        className={styles.main}
        variant="go"
        icon={<Play size={12} fill="currentColor" />}
        keys="Mod+Enter"
        busy={starting}
        blocked={blocked}
        onClick={() => void run(ws)}
      >
        {starting ? t.run.starting : t.run.run}
      </Button>
      {several && (
        <Menu
          align="end"
          items={tasks.map(({ name, command }) => ({
            label: `${name}: ${command}`,
            icon: <Play size={12} />,
            blocked,
            onSelect: () => void run(ws, name),
          }))}
        >
          <IconButton label={t.run.choose} blocked={blocked} className={styles.tasks}>
            <ChevronDown size={14} />
          </IconButton>
        </Menu>
      )}
    </span>
  );
}
