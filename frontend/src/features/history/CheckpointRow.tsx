import { Bookmark, Ellipsis, History, RotateCcw, Trash2 } from "lucide-react";
import type { Checkpoint } from "@/gen/api";
import { moment } from "@/features/format/time";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { Menu } from "@/ui/Menu";
import { useDeleteCheckpoint } from "./queries";
import styles from "./History.module.css";

interface CheckpointRowProps {
  checkpoint: Checkpoint;
  now: number;
  onRestore: () => void;
}

/** One checkpoint: its name, when and by whom, and what can be done with it. */
export function CheckpointRow({ checkpoint, now, onRestore }: CheckpointRowProps) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const remove = useDeleteCheckpoint(ws.repl);
  const { id, name, made_ms, author, reason, files } = checkpoint;
  const automatic = reason !== "manual";
  return (
    <li className={styles.checkpoint}>
      <span className={styles.mark} data-automatic={automatic || undefined} aria-hidden>
        {automatic ? <History size={14} /> : <Bookmark size={14} />}
      </span>
      <span className={styles.what}>
        <span className={styles.names} title={name}>
          {name}
        </span>
        <span className={styles.facts}>
          <span>{moment(made_ms, now)}</span>
          {author !== null && <span>{author.name}</span>}
          <span>{t.history.files(files)}</span>
        </span>
        {automatic && <span className={styles.facts}>{t.history.reason[reason]}</span>}
      </span>
      <Menu
        align="end"
        items={[
          {
            label: t.history.checkpointRestore,
            icon: <RotateCcw size={14} />,
            blocked,
            onSelect: onRestore,
          },
          {
            label: t.history.checkpointDelete,
            icon: <Trash2 size={14} />,
            danger: true,
            blocked,
            onSelect: () => remove.mutate(id),
          },
        ]}
      >
        <IconButton size="small" label={t.history.checkpointMenu(name)}>
          <Ellipsis size={15} />
        </IconButton>
      </Menu>
    </li>
  );
}
