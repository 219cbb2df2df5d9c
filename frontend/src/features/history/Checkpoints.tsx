import { Bookmark, BookmarkPlus, TriangleAlert } from "lucide-react";
import { useState, type FormEvent } from "react";
import type { Checkpoint } from "@/gen/api";
import { useNow } from "@/features/format/useNow";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { TextField } from "@/ui/TextField";
import { CheckpointRow } from "./CheckpointRow";
import { LoadingRows } from "./LoadingRows";
import { useCheckpoints, useCreateCheckpoint } from "./queries";
import { RestoreCheckpoint } from "./RestoreCheckpoint";
import styles from "./History.module.css";

const MAX_NAME = 80;

/** Moments of the whole repl that can be gone back to. */
export function Checkpoints() {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const now = useNow(60_000, true);
  const checkpoints = useCheckpoints(ws.repl);
  const [restoring, setRestoring] = useState<Checkpoint | null>(null);
  return (
    <>
      {blocked === undefined && <MakeCheckpoint />}
      {checkpoints.isPending ? (
        <LoadingRows />
      ) : checkpoints.isError ? (
        <Message
          tone="danger"
          icon={<TriangleAlert size={22} />}
          title={t.history.checkpointsLoadFailed}
          action={<Button onClick={() => void checkpoints.refetch()}>{t.retry}</Button>}
        >
          {t.history.loadFailedBody}
        </Message>
      ) : checkpoints.data.length === 0 ? (
        <Message
          icon={<Bookmark size={24} strokeWidth={1.5} />}
          title={t.history.noCheckpointsTitle}
        >
          {t.history.noCheckpointsBody}
        </Message>
      ) : (
        <ul aria-label={t.history.checkpoints}>
          {checkpoints.data.map((checkpoint) => (
            <CheckpointRow
              key={checkpoint.id}
              checkpoint={checkpoint}
              now={now}
              onRestore={() => setRestoring(checkpoint)}
            />
          ))}
        </ul>
      )}
      {restoring !== null && (
        <RestoreCheckpoint checkpoint={restoring} onClose={() => setRestoring(null)} />
      )}
    </>
  );
}

function MakeCheckpoint() {
  const ws = useWorkspace();
  const [name, setName] = useState("");
  const create = useCreateCheckpoint(ws.repl);
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (!create.isPending) create.mutate(name.trim(), { onSuccess: () => setName("") });
  };
  return (
    <form className={styles.make} onSubmit={send}>
      <TextField
        label={t.history.checkpointName}
        hideLabel
        placeholder={t.history.checkpointPlaceholder}
        maxLength={MAX_NAME}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <Button type="submit" icon={<BookmarkPlus size={14} />} busy={create.isPending}>
        {t.history.makeCheckpoint}
      </Button>
    </form>
  );
}
