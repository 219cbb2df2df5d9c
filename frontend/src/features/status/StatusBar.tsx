import { Info, SquareTerminal, Users } from "lucide-react";
import { useLayout } from "@/features/layout/layout";
import { toggleTerminal } from "@/features/run/actions";
import { useEditorState, useLive, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Popover } from "@/ui/Popover";
import { Tooltip } from "@/ui/Tooltip";
import { ConnectionItem, DurabilityItem } from "./DurabilityItem";
import { NetworkItem } from "./NetworkItem";
import { UsageItem } from "./UsageItem";
import styles from "./Status.module.css";

/** One line of facts: safety first, then the editor, then the sandbox. */
export function StatusBar({ compact }: { compact: boolean }) {
  const ws = useWorkspace();
  const panelOpen = useLayout((layout) => layout.panelOpen);
  const people = useLive((live) => live.people.length);
  return (
    <footer className={styles.bar} aria-label={t.status.label}>
      <ConnectionItem />
      <DurabilityItem />
      <Notices />
      <span className={styles.space} />
      {!compact && (
        <>
          <EditorItems />
          <UsageItem />
          <NetworkItem />
        </>
      )}
      {people !== null && people > 0 && (
        <span className={styles.item} title={t.people.count(people)}>
          <Users size={12} aria-hidden />
          <span aria-label={t.people.count(people)}>{people}</span>
        </span>
      )}
      {!compact && (
        <Tooltip label={t.commands.terminal} keys="Mod+`" side="top">
          <button
            type="button"
            className={styles.item}
            aria-label={t.commands.terminal}
            aria-pressed={panelOpen}
            onClick={() => void toggleTerminal(ws)}
          >
            <SquareTerminal size={13} />
          </button>
        </Tooltip>
      )}
    </footer>
  );
}

function EditorItems() {
  const ws = useWorkspace();
  const cursor = useEditorState((state) => state.cursor);
  const language = useEditorState((state) => state.language);
  const indent = useEditorState((state) => state.indent);
  const tabLeaves = useEditorState((state) => state.tabLeaves);
  const open = useEditorState((state) => state.editor !== null);
  if (!open) return null;
  return (
    <>
      {tabLeaves && (
        <span className={styles.item} data-tone="warn">
          {t.status.tabLeaves}
        </span>
      )}
      {cursor !== null && (
        <Tooltip label={t.status.goToLine} side="top">
          <button type="button" className={styles.item} onClick={() => ws.show("line")}>
            {cursor.selections > 1
              ? t.status.selections(cursor.selections)
              : t.status.cursor(cursor.line, cursor.column)}
            {cursor.selected > 0 && ` ${t.status.selected(cursor.selected)}`}
          </button>
        </Tooltip>
      )}
      {indent !== null && (
        <span className={`${styles.item} ${styles.roomy}`}>
          {(indent.unit === "tab" ? t.status.tabs : t.status.spaces)(indent.size)}
        </span>
      )}
      <span className={styles.item}>{language ?? t.status.plainText}</span>
    </>
  );
}

function Notices() {
  const notices = useLive((live) => live.notices);
  if (notices === null || notices.length === 0) return null;
  return (
    <Popover
      label={t.status.notices(notices.length)}
      side="top"
      align="start"
      trigger={
        <button type="button" className={styles.item}>
          <Info size={12} />
          {t.status.notices(notices.length)}
        </button>
      }
    >
      <ul className={styles.notices}>
        {notices.map((notice) => (
          <li key={notice}>{notice}</li>
        ))}
      </ul>
    </Popover>
  );
}
