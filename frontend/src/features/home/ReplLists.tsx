import type { Me, ReplInfo } from "@/gen/api";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { Skeleton } from "@/ui/Skeleton";
import { EmptyHome } from "./EmptyHome";
import { ReplGrid } from "./ReplGrid";
import { useRepls } from "./repls";
import { matches } from "./search";
import styles from "./Home.module.css";

interface ReplsProps {
  me: Me;
  query: string;
  onOpen: (repl: ReplInfo) => void;
  onNew: () => void;
  onClear: () => void;
}

/** One's own repls and those shared with one, or what stands in their place. */
export function ReplLists({ me, query, onOpen, onNew, onClear }: ReplsProps) {
  const repls = useRepls();
  if (repls.isPending) return <Loading />;
  if (repls.data === undefined) {
    return (
      <Message
        size="page"
        title={t.home.loadFailed}
        action={<Button onClick={() => void repls.refetch()}>{t.retry}</Button>}
      >
        {repls.error.message}
      </Message>
    );
  }
  const all = repls.data.filter((repl) => repl.deleted_ms === null);
  if (all.length === 0) {
    if (me.owner) return <EmptyHome onMore={onNew} onCreated={onOpen} />;
    return (
      <Message size="page" title={t.home.emptyGuestTitle}>
        {t.home.emptyGuestBody}
      </Message>
    );
  }
  const found = all
    .filter((repl) => matches(query, repl.name, repl.language, repl.template))
    .sort((a, b) => b.updated_ms - a.updated_ms);
  if (found.length === 0) {
    return (
      <Message
        title={t.home.nothingFound(query)}
        action={<Button onClick={onClear}>{t.home.clearSearch}</Button>}
      />
    );
  }
  const own = found.filter((repl) => repl.role === "owner");
  const shared = found.filter((repl) => repl.role !== "owner");
  return (
    <>
      {own.length > 0 && (
        <ReplGrid title={t.home.title} repls={own} canCreate={me.owner} onOpen={onOpen} />
      )}
      {shared.length > 0 && (
        <ReplGrid title={t.home.shared} repls={shared} canCreate={me.owner} onOpen={onOpen} />
      )}
    </>
  );
}

function Loading() {
  return (
    <div className={styles.cards} role="status" aria-label={t.loading}>
      {Array.from({ length: 6 }, (_, index) => (
        <Skeleton key={index} height={66} radius="var(--radius-3)" />
      ))}
    </div>
  );
}
