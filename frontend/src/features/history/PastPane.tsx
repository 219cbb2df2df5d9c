import { X } from "lucide-react";
import { useEffect, useRef, type KeyboardEvent, type ReactNode } from "react";
import type { HistoryAuthor } from "@/gen/api";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { IconButton } from "@/ui/IconButton";
import { showPresent } from "./actions";
import styles from "./Past.module.css";

interface PastPaneProps {
  /** For screen readers. */
  label: string;
  title: string;
  badge?: string;
  authors?: readonly HistoryAuthor[];
  actions?: ReactNode;
  onKeyDown?: (event: KeyboardEvent) => void;
  children: ReactNode;
}

/** Something that is not the present: says so, and leads back. */
export function PastPane(props: PastPaneProps) {
  const { label, title, badge, authors, actions, onKeyDown, children } = props;
  const ws = useWorkspace();
  const pane = useRef<HTMLElement>(null);
  useEffect(() => pane.current?.focus(), []);
  return (
    <section
      ref={pane}
      className={styles.pane}
      aria-label={label}
      tabIndex={-1}
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.defaultPrevented) showPresent(ws);
        else onKeyDown?.(event);
      }}
    >
      <header className={styles.header}>
        <span className={styles.people}>
          {authors?.map(({ id, name, colour }) => (
            <span key={id} className={styles.person} title={name}>
              <Avatar name={name} colour={colour} size={18} />
              <span className="visually-hidden">{name}</span>
            </span>
          ))}
        </span>
        <h2 className={styles.title}>{title}</h2>
        {badge !== undefined && <span className={styles.badge}>{badge}</span>}
        <span className={styles.space} />
        <span className={styles.actions}>{actions}</span>
        <IconButton
          size="small"
          label={t.history.back}
          keys="Escape"
          onClick={() => showPresent(ws)}
        >
          <X size={15} />
        </IconButton>
      </header>
      {children}
    </section>
  );
}
