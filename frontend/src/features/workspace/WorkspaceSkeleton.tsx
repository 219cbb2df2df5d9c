import { t } from "@/strings/en";
import { Logo } from "@/ui/Logo";
import { Skeleton } from "@/ui/Skeleton";
import layout from "./Layout.module.css";
import styles from "./WorkspaceSkeleton.module.css";

/** The shape of the workspace while it opens. */
export function WorkspaceSkeleton() {
  return (
    <div className={layout.workspace} role="status" aria-label={t.workspace.opening}>
      <div className={styles.header}>
        <Logo size={20} />
        <Skeleton width={140} height={12} />
      </div>
      <div className={layout.panes}>
        <div className={layout.rail} />
        <div className={styles.side}>
          {[120, 88, 136, 104, 72].map((width) => (
            <Skeleton key={width} width={width} height={10} />
          ))}
        </div>
        <div className={styles.editor}>
          {[220, 300, 180, 0, 260, 340, 200].map((width) => (
            <Skeleton key={width} width={width} height={10} />
          ))}
        </div>
      </div>
    </div>
  );
}
