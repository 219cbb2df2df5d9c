import { useState, type FormEvent } from "react";
import type { ReplInfo } from "@/gen/api";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { TextField } from "@/ui/TextField";
import { useRenameRepl } from "./repls";
import styles from "./Home.module.css";

/** Asks for a repl's new name. Mount it with a key per repl. */
export function RenameDialog({ repl, onClose }: { repl: ReplInfo; onClose: () => void }) {
  const [name, setName] = useState(repl.name);
  const rename = useRenameRepl();
  const chosen = name.trim();
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (chosen === "" || chosen === repl.name) onClose();
    else rename.mutate({ repl: repl.id, name: chosen }, { onSuccess: onClose });
  };
  return (
    <Dialog open onClose={onClose} title={t.home.renameTitle} closeLabel={t.close} width="narrow">
      <form onSubmit={send}>
        <TextField
          label={t.home.nameLabel}
          hideLabel
          autoFocus
          maxLength={80}
          value={name}
          onFocus={(event) => event.target.select()}
          onChange={(event) => setName(event.target.value)}
        />
        <div className={styles.dialogActions}>
          <Button onClick={onClose}>{t.cancel}</Button>
          <Button type="submit" variant="primary" busy={rename.isPending}>
            {t.home.rename}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
