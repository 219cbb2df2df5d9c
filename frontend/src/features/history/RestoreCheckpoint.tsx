import type { Checkpoint } from "@/gen/api";
import { moment } from "@/features/format/time";
import { useNow } from "@/features/format/useNow";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { useRestoreCheckpoint } from "./queries";
import styles from "./History.module.css";

interface RestoreCheckpointProps {
  checkpoint: Checkpoint;
  onClose: () => void;
}

/** Says what a restore does to everybody before it is done. */
export function RestoreCheckpoint({ checkpoint, onClose }: RestoreCheckpointProps) {
  const ws = useWorkspace();
  const now = useNow(60_000, true);
  const restore = useRestoreCheckpoint(ws.repl, onClose);
  return (
    <Dialog
      open
      onClose={onClose}
      title={t.history.confirmTitle(checkpoint.name)}
      description={t.history.confirmBody(moment(checkpoint.made_ms, now))}
      closeLabel={t.close}
      footer={
        <>
          <Button onClick={onClose}>{t.cancel}</Button>
          <Button
            variant="primary"
            busy={restore.isPending}
            onClick={() => restore.mutate(checkpoint)}
          >
            {t.history.confirm}
          </Button>
        </>
      }
    >
      <ul className={styles.points}>
        {t.history.confirmPoints.map((point) => (
          <li key={point}>{point}</li>
        ))}
      </ul>
    </Dialog>
  );
}
