import { useNavigate } from "@tanstack/react-router";
import { Plus, Search } from "lucide-react";
import { useState } from "react";
import type { Me, ReplInfo } from "@/gen/api";
import { DeletedRepls } from "@/features/home/DeletedRepls";
import { NewReplDialog } from "@/features/home/NewReplDialog";
import { ReplLists } from "@/features/home/ReplLists";
import { ProfileDialog } from "@/features/session/ProfileDialog";
import { useDocumentTitle } from "@/features/format/useDocumentTitle";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Logo } from "@/ui/Logo";
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
          <ReplLists
            me={me}
            query={query}
            onOpen={open}
            onNew={() => setCreating(true)}
            onClear={() => setQuery("")}
          />
          {me.owner && <DeletedRepls />}
        </div>
      </main>
      {creating && <NewReplDialog onClose={() => setCreating(false)} onCreated={open} />}
      <ProfileDialog me={me} open={profile} onClose={() => setProfile(false)} />
    </div>
  );
}
