import { ChevronRight } from "lucide-react";
import { Fragment } from "react";
import { revealInTree } from "@/features/files/actions";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import styles from "./Editing.module.css";

/** Where the file in front lies; each part shows itself in the tree. */
export function Breadcrumbs({ path }: { path: string }) {
  const ws = useWorkspace();
  const parts = path.split("/");
  return (
    <nav className={styles.crumbs} aria-label={t.editor.breadcrumbs}>
      {parts.map((part, index) => {
        const upTo = parts.slice(0, index + 1).join("/");
        return (
          <Fragment key={upTo}>
            {index > 0 && <ChevronRight size={12} aria-hidden />}
            <button
              type="button"
              className={styles.crumb}
              onClick={() => void revealInTree(ws, upTo)}
            >
              {part}
            </button>
          </Fragment>
        );
      })}
    </nav>
  );
}
