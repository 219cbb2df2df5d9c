import { Play } from "lucide-react";
import type { HistoryAuthor, HistorySession } from "@/gen/api";
import { clock } from "@/features/format/time";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { IconButton } from "@/ui/IconButton";
import { showPlayback, showVersion } from "./actions";
import { authorsOf } from "./authors";
import styles from "./History.module.css";

interface SessionRowProps {
  session: HistorySession;
  authors: readonly HistoryAuthor[];
  file: string;
  path: string;
  shown: boolean;
}

const MAX_AVATARS = 2;

/** One session of writing: who, when, how much. */
export function SessionRow({ session, authors, file, path, shown }: SessionRowProps) {
  const ws = useWorkspace();
  const writers = authorsOf(session, authors);
  const names = t.history.authors(writers.map(({ name }) => name));
  const span = t.history.span(clock(session.from_ms), clock(session.to_ms));
  return (
    <li className={styles.session} data-shown={shown || undefined}>
      <button
        type="button"
        className={styles.open}
        aria-current={shown ? "true" : undefined}
        aria-label={t.history.session(span, names, session.inserted, session.deleted)}
        onClick={() => showVersion(ws, { file, path, at: session.to_ms, authors: writers })}
      >
        <span className={styles.avatars}>
          {writers.slice(0, MAX_AVATARS).map(({ id, name, colour }) => (
            <Avatar key={id} name={name} colour={colour} size={20} />
          ))}
        </span>
        <span className={styles.what}>
          <span className={styles.names}>{names}</span>
          <span className={styles.facts}>
            <span>{span}</span>
            {session.inserted > 0 && (
              <span className={styles.plus}>{t.history.inserted(session.inserted)}</span>
            )}
            {session.deleted > 0 && (
              <span className={styles.minus}>{t.history.deleted(session.deleted)}</span>
            )}
          </span>
        </span>
      </button>
      <IconButton
        size="small"
        className={styles.rowAction}
        label={t.history.playSession(span)}
        onClick={() => showPlayback(ws, { file, path, from: session.from_ms, to: session.to_ms })}
      >
        <Play size={14} />
      </IconButton>
    </li>
  );
}
