import { Link } from "@tanstack/react-router";
import { Copy, Ellipsis, Pencil, Trash2, Users } from "lucide-react";
import type { ReplInfo } from "@/gen/api";
import { relativeTime } from "@/features/format/time";
import { LanguageBadge } from "@/features/languages/LanguageBadge";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { Menu } from "@/ui/Menu";
import styles from "./ReplCard.module.css";

interface ReplCardProps {
  repl: ReplInfo;
  now: number;
  canCreate: boolean;
  onRename: (repl: ReplInfo) => void;
  onFork: (repl: ReplInfo) => void;
  onDelete: (repl: ReplInfo) => void;
}

/** One repl in the list. */
export function ReplCard({ repl, now, canCreate, onRename, onFork, onDelete }: ReplCardProps) {
  const owned = repl.role === "owner" ? undefined : t.home.onlyOwner;
  return (
    <li className={styles.card}>
      <Link to="/r/$repl" params={{ repl: repl.id }} className={styles.link}>
        <LanguageBadge language={repl.language} />
        <span className={styles.text}>
          <span className={styles.name} title={repl.name}>
            {repl.name}
          </span>
          <span className={styles.meta}>
            {repl.running && (
              <span className={styles.running}>
                <span className={styles.dot} />
                {t.home.running}
              </span>
            )}
            {repl.online > 0 && (
              <span className={styles.online} title={t.home.online(repl.online)}>
                <Users size={12} aria-hidden />
                <span aria-label={t.home.online(repl.online)}>{repl.online}</span>
              </span>
            )}
            {repl.role !== "owner" && <span>{t.home.role[repl.role]}</span>}
            <time className={styles.when} dateTime={new Date(repl.updated_ms).toISOString()}>
              {t.home.edited(relativeTime(repl.updated_ms, now))}
            </time>
          </span>
        </span>
      </Link>
      <Menu
        align="end"
        items={[
          {
            label: t.home.rename,
            icon: <Pencil size={14} />,
            blocked: owned,
            onSelect: () => onRename(repl),
          },
          {
            label: t.home.fork,
            icon: <Copy size={14} />,
            blocked: canCreate ? undefined : t.home.guestsCannotFork,
            onSelect: () => onFork(repl),
          },
          { kind: "separator" },
          {
            label: t.home.delete,
            icon: <Trash2 size={14} />,
            danger: true,
            blocked: owned,
            onSelect: () => onDelete(repl),
          },
        ]}
      >
        <IconButton label={t.home.menuOf(repl.name)} className={styles.menu}>
          <Ellipsis size={16} />
        </IconButton>
      </Menu>
    </li>
  );
}
