import { Link } from "@tanstack/react-router";
import {
  Archive,
  ChevronDown,
  Command,
  Copy,
  Eye,
  FileUp,
  Keyboard,
  PanelRight,
  PencilLine,
  UserPlus,
} from "lucide-react";
import { useState } from "react";
import { archiveUrl } from "@/api/client";
import type { ReplInfo } from "@/gen/api";
import { chooseAndImport, download } from "@/features/files/actions";
import { useForkRepl, useRenameRepl } from "@/features/home/repls";
import { LanguageBadge } from "@/features/languages/LanguageBadge";
import { useLayout } from "@/features/layout/layout";
import { People } from "@/features/people/People";
import { RunButton } from "@/features/run/RunButton";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { InlineInput } from "@/ui/InlineInput";
import { Logo } from "@/ui/Logo";
import { Menu } from "@/ui/Menu";
import { say } from "@/ui/Toaster";
import { useEditBlock, useRole, useWorkspace } from "./useWorkspace";
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

function ReplName({ info }: { info: ReplInfo }) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const owner = useRole() === "owner";
  const [editing, setEditing] = useState(false);
  const rename = useRenameRepl();
  const fork = useForkRepl((made) => {
    say(t.home.forked(made.name), {
      label: t.home.open,
      run: () => window.location.assign(`/r/${made.id}`),
    });
  });
  if (editing) {
    return (
      <InlineInput
        label={t.workspace.nameLabel}
        initial={info.name}
        check={(name) => (name.trim() === "" ? t.tree.nameEmpty : null)}
        onCancel={() => setEditing(false)}
        onDone={(name) => {
          setEditing(false);
          rename.mutate({ repl: info.id, name: name.trim() });
        }}
      />
    );
  }
  return (
    <Menu
      items={[
        {
          label: t.home.rename,
          icon: <PencilLine size={14} />,
          blocked: owner ? undefined : t.home.onlyOwner,
          onSelect: () => setEditing(true),
        },
        {
          label: t.workspace.fork,
          icon: <Copy size={14} />,
          blocked: ws.page.me.owner ? undefined : t.home.guestsCannotFork,
          onSelect: () => fork.mutate(info.id),
        },
        { kind: "separator" },
        {
          label: t.workspace.exportZip,
          icon: <Archive size={14} />,
          onSelect: () => download(archiveUrl(info.id)),
        },
        {
          label: t.workspace.importZip,
          icon: <FileUp size={14} />,
          blocked,
          onSelect: () => void chooseAndImport(ws),
        },
        { kind: "separator" },
        {
          label: t.workspace.commands,
          icon: <Command size={14} />,
          keys: "Mod+Shift+P",
          onSelect: () => setTimeout(() => ws.show("commands")),
        },
        {
          label: t.workspace.keys,
          icon: <Keyboard size={14} />,
          keys: "Shift+/",
          onSelect: () => setTimeout(() => ws.show("keys")),
        },
      ]}
    >
      <button
        type="button"
        className={styles.name}
        aria-label={`${info.name}: ${t.workspace.menu}`}
      >
        <span className={styles.nameText}>{info.name}</span>
        <ChevronDown size={13} aria-hidden />
      </button>
    </Menu>
  );
}
