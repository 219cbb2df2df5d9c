import { useMemo } from "react";
import type { FileId } from "@/gen/api";
import { useRepl } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import styles from "./Tree.module.css";

/** Who has a file in front, as dots of their colours. */
export function PresenceDots({ file }: { file: FileId }) {
  const presence = useRepl((snapshot) => snapshot.presence);
  const here = useMemo(() => {
    const found = new Map(
      presence
        .filter((one) => !one.self && one.file === file)
        .map((one) => [one.member, one] as const),
    );
    return [...found.values()];
  }, [presence, file]);
  if (here.length === 0) return null;
  const label = t.tree.here(here.map(({ name }) => name).join(", "));
  return (
    <span className={styles.dots} title={label}>
      <span className="visually-hidden">{label}</span>
      {here.slice(0, 3).map(({ member, colour }) => (
        <span key={member} className={styles.dot} style={{ background: colour }} />
      ))}
    </span>
  );
}
