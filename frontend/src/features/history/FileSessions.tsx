import { History, TriangleAlert } from "lucide-react";
import { useNow } from "@/features/format/useNow";
import { useHistoryShown, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { byDay } from "./days";
import { LoadingRows } from "./LoadingRows";
import { useFileHistory } from "./queries";
import { SessionRow } from "./SessionRow";
import styles from "./History.module.css";

/** A file's sessions of writing, day by day. */
export function FileSessions({ file, path }: { file: string; path: string }) {
  const ws = useWorkspace();
  const now = useNow(60_000, true);
  const history = useFileHistory({ repl: ws.repl, file, path });
  const shown = useHistoryShown((state) => state.shown);
  if (history.isPending) return <LoadingRows />;
  if (history.isError) {
    return (
      <Message
        tone="danger"
        icon={<TriangleAlert size={22} />}
        title={t.history.loadFailed}
        action={<Button onClick={() => void history.refetch()}>{t.retry}</Button>}
      >
        {t.history.loadFailedBody}
      </Message>
    );
  }
  const { pages } = history.data;
  const authors = pages[0]?.authors ?? [];
  const days = byDay(
    pages.flatMap(({ sessions }) => sessions),
    now,
  );
  if (days.length === 0) {
    return (
      <Message icon={<History size={24} strokeWidth={1.5} />} title={t.history.emptyTitle}>
        {t.history.emptyBody}
      </Message>
    );
  }
  const at = shown?.kind === "version" && shown.file === file ? shown.at : null;
  return (
    <div className={styles.days}>
      {days.map(({ name, sessions }) => (
        <section key={name} aria-label={t.history.sessions(name)}>
          <h3 className={styles.day}>{name}</h3>
          <ul>
            {sessions.map((session) => (
              <SessionRow
                key={session.id}
                session={session}
                authors={authors}
                file={file}
                path={path}
                shown={at === session.to_ms}
              />
            ))}
          </ul>
        </section>
      ))}
      {history.hasNextPage && (
        <Button
          variant="ghost"
          className={styles.more}
          busy={history.isFetchingNextPage}
          onClick={() => void history.fetchNextPage()}
        >
          {history.isFetchingNextPage ? t.history.loadingOlder : t.history.older}
        </Button>
      )}
    </div>
  );
}
