import { useNavigate } from "@tanstack/react-router";
import { Plus, Search } from "lucide-react";
import { useState } from "react";
import type { Me, ReplInfo } from "@/gen/api";
import { EmptyHome } from "@/features/home/EmptyHome";
import { NewReplDialog } from "@/features/home/NewReplDialog";
import { ReplGrid } from "@/features/home/ReplGrid";
import { useRepls } from "@/features/home/repls";
import { matches } from "@/features/home/search";
import { ProfileDialog } from "@/features/session/ProfileDialog";
import { useDocumentTitle } from "@/features/format/useDocumentTitle";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Logo } from "@/ui/Logo";
import { Message } from "@/ui/Message";
import { Skeleton } from "@/ui/Skeleton";
import { TextField } from "@/ui/TextField";
import styles from "@/features/home/Home.module.css";

/** The list of repls. */
export function HomePage({ me }: { me: Me }) {
  useDocumentTitle(null);
  const navigate = useNavigate();
  const [query, setQuery] = useState("");
  const [creating, setCreating] = useState(false);
  const [profile, setProfile] = useState(false);
  const open = ({ id }: ReplInfo) => void navigate({ to: "/r/$repl", params: { repl: id } });
  return (
    <div className={styles.page}>
      <header className={styles.top}>
        <div className={styles.brand}>
          <Logo /> {t.product}
        </div>
        <TextField
          className={styles.search}
          label={t.home.search}
          hideLabel
          type="search"
          icon={<Search size={14} aria-hidden />}
          placeholder={t.home.searchPlaceholder}
          value={query}
          onChange={(event) => setQuery(event.target.value)}
        />
        <div className={styles.right}>
          <Button
            variant="primary"
            icon={<Plus size={15} />}
            blocked={me.owner ? undefined : t.home.guestsCannotCreate}
            onClick={() => setCreating(true)}
          >
            {t.home.new}
          </Button>
          <IconButton
            label={t.home.yourProfile}
            className={styles.me}
            onClick={() => setProfile(true)}
          >
            <Avatar name={me.name} colour={me.colour} size={28} />
          </IconButton>
        </div>
      </header>
      <main className={styles.main}>
        <div className={styles.inner}>
          <Repls
            me={me}
            query={query}
            onOpen={open}
            onNew={() => setCreating(true)}
            onClear={() => setQuery("")}
          />
        </div>
      </main>
      {creating && <NewReplDialog onClose={() => setCreating(false)} onCreated={open} />}
      <ProfileDialog me={me} open={profile} onClose={() => setProfile(false)} />
    </div>
  );
}

interface ReplsProps {
  me: Me;
  query: string;
  onOpen: (repl: ReplInfo) => void;
  onNew: () => void;
  onClear: () => void;
}

function Repls({ me, query, onOpen, onNew, onClear }: ReplsProps) {
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
