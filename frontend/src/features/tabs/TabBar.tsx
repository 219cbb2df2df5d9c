import { Columns2, PanelRightClose } from "lucide-react";
import { useEffect, useMemo, useRef, useState, type DragEvent } from "react";
import { startDraft } from "@/features/files/actions";
import { useCompact } from "@/features/layout/useCompact";
import { useEditBlock, useTabs, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { EMPTY_GROUP, closeGroup, moveTab, splitTabs, tabHints } from "./model";
import { TabItem } from "./TabItem";
import { TAB_TYPE } from "./dragged";
import styles from "./TabBar.module.css";

/** The open files of one side. */
export function TabBar({ group: at }: { group: number }) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const compact = useCompact();
  const group = useTabs(({ groups }) => groups[at] ?? EMPTY_GROUP);
  const split = useTabs(({ groups }) => groups.length > 1);
  const hints = useMemo(() => tabHints(group.tabs), [group.tabs]);
  const [dropAt, setDropAt] = useState<number | null>(null);
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    list.current
      ?.querySelector('[aria-selected="true"]')
      ?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [group.active]);

  const placeAt = (event: DragEvent): number => {
    const tabs = [...(list.current?.querySelectorAll('[role="tab"]') ?? [])];
    const after = tabs.findIndex((tab) => {
      const { left, width } = tab.getBoundingClientRect();
      return event.clientX < left + width / 2;
    });
    return after < 0 ? tabs.length : after;
  };
  return (
    <div className={styles.bar}>
      <div
        ref={list}
        role="tablist"
        aria-label={t.tabs.label}
        className={styles.list}
        onDoubleClick={(event) => {
          if (event.target === event.currentTarget && blocked === undefined) startDraft(ws, "file");
        }}
        onWheel={(event) => {
          if (event.deltaX === 0) event.currentTarget.scrollLeft += event.deltaY;
        }}
        onDragOver={(event) => {
          if (!event.dataTransfer.types.includes(TAB_TYPE)) return;
          event.preventDefault();
          setDropAt(placeAt(event));
        }}
        onDragLeave={() => setDropAt(null)}
        onDrop={(event) => {
          setDropAt(null);
          const text = event.dataTransfer.getData(TAB_TYPE);
          if (text === "") return;
          event.preventDefault();
          const { group: from, file } = JSON.parse(text) as { group: number; file: string };
          ws.tabs.setState((tabs) =>
            moveTab(tabs, from, file, { group: at, index: placeAt(event) }),
          );
        }}
      >
        {group.tabs.map((tab, index) => (
          <TabItem
            key={tab.file}
            tab={tab}
            group={at}
            active={tab.file === group.active}
            hint={hints.get(tab.file)}
            dropBefore={dropAt === index}
            dropAfter={dropAt === group.tabs.length && index === group.tabs.length - 1}
          />
        ))}
      </div>
      <div className={styles.actions}>
        {split ? (
          <IconButton
            size="small"
            label={t.tabs.closeGroup}
            onClick={() => ws.tabs.setState((tabs) => closeGroup(tabs, at))}
          >
            <PanelRightClose size={15} />
          </IconButton>
        ) : (
          group.active !== null &&
          !compact && (
            <IconButton
              size="small"
              label={t.tabs.split}
              keys="Mod+\"
              onClick={() => ws.tabs.setState(splitTabs)}
            >
              <Columns2 size={15} />
            </IconButton>
          )
        )}
      </div>
    </div>
  );
}
