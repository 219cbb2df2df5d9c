import { CopyMinus, FilePlus2, FolderPlus, Search, Upload, X } from "lucide-react";
import { Tree } from "@/features/tree/Tree";
import { useTreeUi } from "@/features/tree/useTree";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { SideView } from "@/features/workspace/SideView";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { chooseAndUpload, startDraft } from "./actions";
import styles from "./FilesView.module.css";

/** The side bar's list of files. */
export function FilesView() {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  return (
    <SideView
      title={t.workspace.files}
      actions={
        <>
          <IconButton
            size="small"
            label={t.tree.newFile}
            blocked={blocked}
            onClick={() => startDraft(ws, "file")}
          >
            <FilePlus2 size={15} />
          </IconButton>
          <IconButton
            size="small"
            label={t.tree.newFolder}
            blocked={blocked}
            onClick={() => startDraft(ws, "folder")}
          >
            <FolderPlus size={15} />
          </IconButton>
          <IconButton
            size="small"
            label={t.tree.upload}
            blocked={blocked}
            onClick={() => void chooseAndUpload(ws, "")}
          >
            <Upload size={15} />
          </IconButton>
          <IconButton size="small" label={t.tree.collapse} onClick={() => ws.tree.collapseAll()}>
            <CopyMinus size={15} />
          </IconButton>
        </>
      }
    >
      <Filter />
      <Tree />
    </SideView>
  );
}

function Filter() {
  const ws = useWorkspace();
  const filter = useTreeUi((ui) => ui.filter);
  return (
    <div className={styles.filter}>
      <Search size={13} aria-hidden />
      <input
        aria-label={t.tree.filter}
        placeholder={t.tree.filterPlaceholder}
        value={filter}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => ws.treeUi.setState({ filter: event.target.value })}
        onKeyDown={(event) => {
          if (event.key === "Escape") ws.treeUi.setState({ filter: "" });
          if (event.key === "ArrowDown") document.getElementById("tree")?.focus();
        }}
      />
      {filter !== "" && (
        <IconButton
          size="small"
          label={t.home.clearSearch}
          onClick={() => ws.treeUi.setState({ filter: "" })}
        >
          <X size={13} />
        </IconButton>
      )}
    </div>
  );
}
