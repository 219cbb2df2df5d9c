import { useState } from "react";
import type { ReplInfo } from "@/gen/api";
import { useNow } from "@/features/format/useNow";
import { RenameDialog } from "./RenameDialog";
import { ReplCard } from "./ReplCard";
import { useDeleteRepl, useForkRepl } from "./repls";
import styles from "./Home.module.css";

interface ReplGridProps {
  title: string;
  repls: ReplInfo[];
  canCreate: boolean;
  onOpen: (repl: ReplInfo) => void;
}

/** A titled grid of repls with their actions. */
export function ReplGrid({ title, repls, canCreate, onOpen }: ReplGridProps) {
  const now = useNow(30_000, true);
  const [renaming, setRenaming] = useState<ReplInfo | null>(null);
  const fork = useForkRepl(onOpen);
  const remove = useDeleteRepl();
  return (
    <section className={styles.section}>
      <h1 className={styles.heading}>
        {title} <span className={styles.count}>{repls.length}</span>
      </h1>
      <ul className={styles.cards}>
        {repls.map((repl) => (
          <ReplCard
            key={repl.id}
            repl={repl}
            now={now}
            canCreate={canCreate}
            onRename={setRenaming}
            onFork={({ id }) => fork.mutate(id)}
            onDelete={(one) => remove.mutate(one)}
          />
        ))}
      </ul>
      {renaming !== null && (
        <RenameDialog key={renaming.id} repl={renaming} onClose={() => setRenaming(null)} />
      )}
    </section>
  );
}
