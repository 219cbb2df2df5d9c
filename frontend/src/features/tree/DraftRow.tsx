import { FileIcon } from "@/features/languages/FileIcon";
import { create } from "@/features/files/actions";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { InlineInput } from "@/ui/InlineInput";
import { faultText } from "./faultText";
import { entriesOf } from "./folderTree";
import { joinPath } from "./names";
import type { DraftRow as Row } from "./rows";
import { useTreeUi } from "./useTree";
import styles from "./Tree.module.css";

/** Where a new file or folder gets its name. */
export function DraftRow({ row }: { row: Row }) {
  const ws = useWorkspace();
  const draft = useTreeUi((ui) => ui.draft);
  if (draft === null) return null;
  const siblings = (entriesOf(ws.tree.getSnapshot().folders.get(row.parent)) ?? []).map(
    ({ name }) => name,
  );
  const end = () => {
    ws.treeUi.setState({ draft: null });
    document.getElementById("tree")?.focus();
  };
  return (
    <div className={styles.row} role="none" style={{ paddingLeft: 8 + row.depth * 14 }}>
      <span className={styles.twist} />
      <FileIcon name="" kind={draft.kind} />
      <InlineInput
        label={t.tree.nameLabel}
        check={(name) => faultText(name, siblings)}
        onCancel={end}
        onDone={(name) => {
          end();
          void create(ws, draft.kind, joinPath(draft.parentPath, name));
        }}
      />
    </div>
  );
}
