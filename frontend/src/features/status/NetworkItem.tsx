import { useQuery } from "@tanstack/react-query";
import { ArrowDown, ArrowUp, Unplug } from "lucide-react";
import { getEgress } from "@/api/client";
import { bytes } from "@/features/format/bytes";
import { useLive, useWorkspace } from "@/features/workspace/useWorkspace";
import type { EgressReport } from "@/gen/api";
import { t } from "@/strings/en";
import { Popover } from "@/ui/Popover";
import { Tooltip } from "@/ui/Tooltip";
import styles from "./Status.module.css";

/** What programs send and receive, and where. */
export function NetworkItem() {
  const ws = useWorkspace();
  const isUp = useLive((live) => live.sandbox.state === "ready");
  const query = useQuery({
    queryKey: ["egress", ws.repl, isUp],
    queryFn: ({ signal }) => getEgress(ws.repl, signal),
    refetchInterval: isUp === true ? 5_000 : false,
    retry: 1,
  });
  const report = query.data;
  // Not known yet: said when it is.
  if (report === undefined) return null;
  if (report.problem !== null || (report.mode === "none" && report.hosts.length === 0)) {
    const why = report.problem === null ? "" : ` ${t.status.network.problem(report.problem)}`;
    return (
      <Tooltip label={`${t.status.network.noneHint}${why}`} side="top">
        <button type="button" className={`${styles.item} ${styles.roomy}`}>
          <Unplug size={12} />
          {t.status.network.none}
        </button>
      </Tooltip>
    );
  }
  return (
    <Popover
      label={t.status.network.title}
      side="top"
      trigger={
        <button
          type="button"
          className={`${styles.item} ${styles.roomy}`}
          aria-label={`${t.status.network.title}: ${t.status.network.sums(bytes(report.sent), bytes(report.received))}`}
        >
          <ArrowUp size={12} />
          {bytes(report.sent)}
          <ArrowDown size={12} />
          {bytes(report.received)}
        </button>
      }
    >
      <Ledger report={report} />
    </Popover>
  );
}

function Ledger({ report }: { report: EgressReport }) {
  const { mode, allowed, guaranteed, hosts } = report;
  return (
    <div className={styles.network}>
      <b>{t.status.network.title}</b>
      <span>
        {t.status.network.mode[mode]} {allowed.join(", ")}
      </span>
      {guaranteed !== null && guaranteed > 0 && (
        <span>{t.status.network.guaranteed((guaranteed / 1e6).toFixed(1))}</span>
      )}
      <span>
        {t.status.network.sums(bytes(report.sent), bytes(report.received))}
        {report.refused > 0 && `, ${t.status.network.refused(report.refused)}`}
      </span>
      {hosts.length === 0 ? (
        <span>{t.status.network.nothing}</span>
      ) : (
        <table>
          <thead>
            <tr>
              <th>{t.status.network.host}</th>
              <th>{t.status.network.sent}</th>
              <th>{t.status.network.received}</th>
            </tr>
          </thead>
          <tbody>
            {hosts.map((line) => (
              <tr key={`${line.host}:${line.port}`}>
                <td>
                  {line.host}:{line.port}
                </td>
                <td>{bytes(line.sent)}</td>
                <td>{bytes(line.received)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {report.since_ms > 0 && (
        <span>{t.status.network.since(new Date(report.since_ms).toLocaleString())}</span>
      )}
    </div>
  );
}
