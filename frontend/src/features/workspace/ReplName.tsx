import { Archive, ChevronDown, Command, Copy, FileUp, Keyboard, PencilLine } from "lucide-react";
import { useState } from "react";
import { archiveUrl } from "@/api/client";
import type { ReplInfo } from "@/gen/api";
import { chooseAndImport, download } from "@/features/files/actions";
import { useForkRepl, useRenameRepl } from "@/features/home/repls";
import { t } from "@/strings/en";
import { InlineInput } from "@/ui/InlineInput";
import { Menu } from "@/ui/Menu";
import { say } from "@/ui/Toaster";
import { useEditBlock, useRole, useWorkspace } from "./useWorkspace";
import styles from "./Header.module.css";

/** The repl's name with its menu; renaming happens in place. */
export function ReplName({ info }: { info: ReplInfo }) {
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
