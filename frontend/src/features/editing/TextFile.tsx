import { useEffect, useSyncExternalStore } from "react";
import type { OpenDocument } from "@/session/contract";
import { renameTabs, type Tab } from "@/features/tabs/model";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Message } from "@/ui/Message";
import { Spinner } from "@/ui/Spinner";
import { useHeld } from "@/ui/useHeld";
import { BlobFile } from "./BlobFile";
import { CodePane } from "./CodePane";
import { Unavailable } from "./Unavailable";
import styles from "./Editing.module.css";

interface FileProps {
  tab: Tab;
  group: number;
  /** In front of the focused side. */
  focused: boolean;
}

/** A text file: its document is held as long as its tab is alive. */
export function TextFile(props: FileProps) {
  const ws = useWorkspace();
  const { file, path } = props.tab;
  const document = useHeld(
    {
      make: () => ws.page.openDocument(file, path),
      release: (opened) => opened.release(),
    },
    file,
  );
  useEffect(() => {
    // Only the tree knows of a move before the server tells the document.
    if (ws.tree.getSnapshot().paths.get(file) === path) document?.moved(path);
  }, [ws, document, file, path]);
  return document === null ? <Opening /> : <Shown {...props} document={document} />;
}

function Shown({ tab, group, focused, document }: FileProps & { document: OpenDocument }) {
  const { state, reason } = useSyncExternalStore(document.subscribe, () =>
    summary(document.getSnapshot()),
  );
  const ws = useWorkspace();
  const path = useSyncExternalStore(document.subscribe, () => document.getSnapshot().path);
  useEffect(() => {
    if (path !== null && path !== "") {
      ws.tabs.setState((tabs) => renameTabs(tabs, new Map([[document.file, path]])));
    }
  }, [ws, document, path]);
  switch (state) {
    case "opening":
      return <Opening />;
    case "open":
      return <CodePane document={document} focused={focused} />;
    case "unavailable":
      if (reason === "not-text" || reason === "too-large") return <BlobFile tab={tab} />;
      return <Unavailable tab={tab} group={group} reason={reason} />;
  }
}

type Reason = "not-found" | "not-text" | "too-large" | "storage" | "refused";
type Summary =
  { state: "opening" | "open"; reason: null } | { state: "unavailable"; reason: Reason };

const summaries = new Map<string, Summary>();

/** The part of a document's state that decides which view is drawn; the same object each time. */
function summary(snapshot: ReturnType<OpenDocument["getSnapshot"]>): Summary {
  const key = snapshot.state === "unavailable" ? snapshot.reason : snapshot.state;
  const known = summaries.get(key);
  if (known !== undefined) return known;
  const made: Summary =
    snapshot.state === "unavailable"
      ? { state: "unavailable", reason: snapshot.reason }
      : { state: snapshot.state, reason: null };
  summaries.set(key, made);
  return made;
}

function Opening() {
  return (
    <Message
      title={t.editor.opening}
      icon={
        <span className={styles.late}>
          <Spinner size={18} />
        </span>
      }
    />
  );
}
