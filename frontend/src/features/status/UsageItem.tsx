import { bytes } from "@/features/format/bytes";
import { useLive } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Tooltip } from "@/ui/Tooltip";
import styles from "./Status.module.css";

/** What the sandbox uses, and whether it runs. */
export function UsageItem() {
  const usage = useLive((live) => live.usage);
  const sandbox = useLive((live) => live.sandbox);
  if (sandbox === null) return null;
  if (sandbox.state === "starting") {
    return <span className={styles.item}>{t.workspace.sandbox.starting(sandbox.stage)}</span>;
  }
  if (sandbox.state === "failed") {
    return (
      <Tooltip label={`${sandbox.message} ${t.workspace.sandbox.failedBody}`} side="top">
        <button type="button" className={styles.item} data-tone="danger">
          {t.workspace.sandbox.failed}
        </button>
      </Tooltip>
    );
  }
  if (usage === null || sandbox.state !== "ready") {
    return <span className={styles.item}>{t.workspace.sandbox[sandbox.state]}</span>;
  }
  const memoryLimit = usage.memory_limit_bytes;
  const diskLimit = usage.disk_limit_bytes;
  const full = (used: number, limit: number | null) => limit !== null && used > limit * 0.9;
  const tight = full(usage.memory_bytes, memoryLimit) || full(usage.disk_used_bytes, diskLimit);
  return (
    <Tooltip
      side="top"
      label={
        <span className={styles.lines}>
          <b>{t.status.usage}</b>
          <span>
            {t.status.cpu(Math.round(usage.cpu_percent))} · {t.status.cpuHint}
          </span>
          <span>
            {t.status.memory(
              bytes(usage.memory_bytes),
              memoryLimit === null ? null : bytes(memoryLimit),
            )}
          </span>
          <span>
            {t.status.disk(
              bytes(usage.disk_used_bytes),
              diskLimit === null ? null : bytes(diskLimit),
            )}
          </span>
          <span>{t.status.processes(usage.processes)}</span>
        </span>
      }
    >
      <button type="button" className={styles.item} data-tone={tight ? "warn" : undefined}>
        <span>{t.status.cpu(Math.round(usage.cpu_percent))}</span>
        <span>{bytes(usage.memory_bytes)}</span>
        <span className={styles.roomy}>{t.status.disk(bytes(usage.disk_used_bytes), null)}</span>
      </button>
    </Tooltip>
  );
}
