import { Link } from "@tanstack/react-router";
import { Eye, PanelRight, UserPlus } from "lucide-react";
import type { ReplInfo } from "@/gen/api";
import { LanguageBadge } from "@/features/languages/LanguageBadge";
import { useLayout } from "@/features/layout/layout";
import { People } from "@/features/people/People";
import { RunButton } from "@/features/run/RunButton";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Logo } from "@/ui/Logo";
import { ReplName } from "./ReplName";
import { useRole, useWorkspace } from "./useWorkspace";
import styles from "./Header.module.css";

interface HeaderProps {
  info: ReplInfo;
  compact: boolean;
}

/** The top line: whose repl, Run, who is here, Share. */
export function Header({ info, compact }: HeaderProps) {
  const ws = useWorkspace();
  const role = useRole();
  const rightOpen = useLayout((layout) => layout.rightOpen);
  const change = useLayout((layout) => layout.change);
  return (
    <header className={styles.header} data-compact={compact || undefined}>
      <h1 className="visually-hidden">{info.name}</h1>
      <div className={styles.left}>
        <Link to="/" className={styles.home} aria-label={t.workspace.home}>
          <Logo size={20} />
        </Link>
        {!compact && <LanguageBadge language={info.language} size={22} />}
        <ReplName info={info} />
        {role === "viewer" && (
          <span className={styles.viewing} title={t.workspace.viewerReason}>
            <Eye size={13} aria-hidden />
            {!compact && t.workspace.viewerBadge}
          </span>
        )}
      </div>
      <RunButton />
      <div className={styles.right}>
        <People most={compact ? 2 : 4} />
        {compact ? (
          <IconButton label={t.share.button} onClick={() => ws.show("share")}>
            <UserPlus size={16} />
          </IconButton>
        ) : (
          <Button icon={<UserPlus size={14} />} onClick={() => ws.show("share")}>
            {t.share.button}
          </Button>
        )}
        {!compact && (
          <IconButton
            label={t.workspace.togglePreview}
            keys="Mod+Alt+B"
            pressed={rightOpen}
            onClick={() => change({ rightOpen: !rightOpen })}
          >
            <PanelRight size={16} />
          </IconButton>
        )}
      </div>
    </header>
  );
}
