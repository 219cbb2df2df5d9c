import { Check, CheckCheck, Clock, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { useLive, useRepl } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Spinner } from "@/ui/Spinner";
import { Tooltip } from "@/ui/Tooltip";
import { durabilityMark, type DurabilityMark } from "./durability";
import { useNow } from "@/features/format/useNow";
import styles from "./Status.module.css";

const marks: Record<DurabilityMark["mark"], ReactNode> = {
  idle: <Check size={13} />,
  busy: <Spinner size={11} />,
  disk: <Check size={13} />,
  stored: <CheckCheck size={13} />,
  late: <TriangleAlert size={13} />,
};

/** The tick: how safe what was typed here is. */
export function DurabilityItem() {
  const durability = useRepl((snapshot) => snapshot.durability);
  const connection = useRepl((snapshot) => snapshot.connection);
  const server = useLive((live) => live.durability);
  const now = useNow(1000, durability.state === "unsaved");
  const { tone, mark, text, hint } = durabilityMark({ durability, connection, server, now });
  return (
    <Tooltip label={hint} side="top">
      <button type="button" className={styles.item} data-tone={tone} data-durability={mark}>
        {marks[mark]}
        <span role="status">{text}</span>
      </button>
    </Tooltip>
  );
}

/** Whether the page hears the server. */
export function ConnectionItem() {
  const connection = useRepl((snapshot) => snapshot.connection);
  switch (connection.state) {
    case "open":
      return (
        <span className={styles.item} data-connection="open">
          <span className={styles.lamp} data-tone="good" />
          <span className={styles.wide}>{t.status.connected}</span>
        </span>
      );
    case "connecting":
      return (
        <span className={styles.item} data-connection="connecting">
          <Clock size={12} />
          {connection.attempt === 0 ? t.status.connecting : t.status.reconnecting}
        </span>
      );
    case "waiting":
    case "refused":
    case "closed":
      return (
        <span className={styles.item} data-tone="warn" data-connection="offline">
          <span className={styles.lamp} data-tone="warn" />
          {t.status.offline}
        </span>
      );
  }
}
