import { ChevronRight } from "lucide-react";
import { relativeTime } from "@/features/format/time";
import { useNow } from "@/features/format/useNow";
import { LanguageBadge } from "@/features/languages/LanguageBadge";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { useDeletedRepls, useRestoreRepl } from "./repls";
import styles from "./DeletedRepls.module.css";

/** What can still be brought back. */
export function DeletedRepls() {
  const now = useNow(30_000, true);
  const deleted = useDeletedRepls(true);
  const restore = useRestoreRepl();
  if (deleted.data === undefined || deleted.data.length === 0) return null;
  return (
    <details className={styles.deleted}>
      <summary className={styles.summary}>
        <ChevronRight size={14} aria-hidden />
        {t.home.recentlyDeleted}
        <span className={styles.count}>{deleted.data.length}</span>
      </summary>
      <ul>
        {deleted.data.map((repl) => (
          <li key={repl.id} className={styles.row}>
            <LanguageBadge language={repl.language} size={22} />
            <span className={styles.name}>{repl.name}</span>
            <span className={styles.when}>
              {t.home.deletedAt(relativeTime(repl.deleted_ms ?? now, now))}
            </span>
            <Button
              size="small"
              busy={restore.isPending && restore.variables.id === repl.id}
              onClick={() => restore.mutate(repl)}
            >
              {t.home.restore}
            </Button>
          </li>
        ))}
      </ul>
    </details>
  );
}
