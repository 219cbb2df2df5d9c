import { ClipboardCopy, ListTree, Pin, X } from "lucide-react";
import type { KeyboardEvent } from "react";
import { revealInTree } from "@/features/files/actions";
import { FileIcon } from "@/features/languages/FileIcon";
import { baseName } from "@/features/tree/names";
import { PresenceDots } from "@/features/tree/PresenceDots";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { classes } from "@/ui/classes";
import { ContextMenu } from "@/ui/ContextMenu";
import { copyOrSay } from "@/ui/copy";
import type { MenuItem } from "@/ui/menu";
import { TAB_TYPE } from "./dragged";
import { activateTab, closeTabs, pinTab, type Tab } from "./model";
import styles from "./TabBar.module.css";

interface TabItemProps {
  tab: Tab;
  group: number;
  active: boolean;
  hint: string | undefined;
  dropBefore: boolean;
  dropAfter: boolean;
}

/** One open file. */
export function TabItem({ tab, group, active, hint, dropBefore, dropAfter }: TabItemProps) {
  const ws = useWorkspace();
  const name = baseName(tab.path);
  const close = (files: string[]) => ws.tabs.setState((tabs) => closeTabs(tabs, group, files));
  const activate = () => {
    ws.surface.setState({ editorWanted: true });
    ws.tabs.setState((tabs) => activateTab(tabs, group, tab.file));
  };
  const pin = () => ws.tabs.setState((tabs) => pinTab(tabs, tab.file));
  const all = () => ws.tabs.getState().groups[group]?.tabs.map(({ file }) => file) ?? [];
  const items: MenuItem[] = [
    { label: t.tabs.closeTab, icon: <X size={14} />, onSelect: () => close([tab.file]) },
    {
      label: t.tabs.closeOthers,
      onSelect: () => close(all().filter((file) => file !== tab.file)),
    },
    { label: t.tabs.closeAll, onSelect: () => close(all()) },
    { kind: "separator" },
    ...(tab.preview ? [{ label: t.tabs.pin, icon: <Pin size={14} />, onSelect: pin }] : []),
    {
      label: t.tabs.reveal,
      icon: <ListTree size={14} />,
      onSelect: () => void revealInTree(ws, tab.path),
    },
    {
      label: t.tabs.copyPath,
      icon: <ClipboardCopy size={14} />,
      onSelect: () => void copyOrSay(tab.path, t.copyFailed),
    },
  ];
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step !== undefined) {
      const tabs = [...(event.currentTarget.parentElement?.children ?? [])];
      const next = tabs[tabs.indexOf(event.currentTarget) + step];
      if (next instanceof HTMLElement) {
        next.focus();
        next.click();
      }
    } else if (event.key === "Enter" || event.key === " ") activate();
    else if (event.key === "Delete") close([tab.file]);
    else return;
    event.preventDefault();
  };
  return (
    <ContextMenu items={items}>
      <div
        role="tab"
        aria-label={hint === undefined ? name : `${name} (${hint})`}
        tabIndex={active ? 0 : -1}
        aria-selected={active}
        title={tab.path}
        draggable
        className={classes(
          styles.tab,
          tab.preview && styles.preview,
          dropBefore && styles.dropBefore,
          dropAfter && styles.dropAfter,
        )}
        onClick={activate}
        onDoubleClick={pin}
        onKeyDown={onKeyDown}
        onMouseDown={(event) => event.button === 1 && event.preventDefault()}
        onAuxClick={(event) => event.button === 1 && close([tab.file])}
        onDragStart={(event) => {
          event.dataTransfer.setData(TAB_TYPE, JSON.stringify({ group, file: tab.file }));
          event.dataTransfer.effectAllowed = "move";
        }}
      >
        <FileIcon name={name} size={14} />
        <span className={styles.name}>{name}</span>
        {hint !== undefined && <span className={styles.hint}>{hint}</span>}
        <PresenceDots file={tab.file} />
        <button
          type="button"
          tabIndex={-1}
          className={styles.close}
          aria-label={t.tabs.close(name)}
          onClick={(event) => {
            event.stopPropagation();
            close([tab.file]);
          }}
        >
          <X size={13} />
        </button>
      </div>
    </ContextMenu>
  );
}
