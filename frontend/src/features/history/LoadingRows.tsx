import { t } from "@/strings/en";
import { Skeleton } from "@/ui/Skeleton";
import styles from "./History.module.css";

/** The shape of a list on its way. */
export function LoadingRows() {
  return (
    <div className={styles.loading} role="status" aria-label={t.loading}>
      {[62, 48, 70, 55].map((width) => (
        <div key={width} className={styles.loadingRow}>
          <Skeleton width={22} height={22} radius="50%" />
          <Skeleton width={`${width}%`} height={10} />
        </div>
      ))}
    </div>
  );
}
