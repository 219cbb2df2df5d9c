import { Copy, ExternalLink, Radio } from "lucide-react";
import type { PortInfo } from "@/gen/api";
import { changeLayout } from "@/features/layout/layout";
import { SideView } from "@/features/workspace/SideView";
import { useLive, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { copyOrSay } from "@/ui/copy";
import { IconButton } from "@/ui/IconButton";
import { Message } from "@/ui/Message";
import styles from "./Ports.module.css";

/** Where programs in the sandbox listen. */
export function PortsView() {
  const ports = useLive((live) => live.ports);
  return (
    <SideView title={t.ports.title}>
      {ports === null || ports.length === 0 ? (
        <Message icon={<Radio size={24} strokeWidth={1.5} />} title={t.ports.none}>
          {t.ports.noneBody}
        </Message>
      ) : (
        <ul className={styles.ports}>
          {ports.map((port) => (
            <PortRow key={port.port} port={port} />
          ))}
        </ul>
      )}
    </SideView>
  );
}

function PortRow({ port: { port, allowed, url } }: { port: PortInfo }) {
  const ws = useWorkspace();
  if (!allowed || url === null) {
    return (
      <li className={styles.port} title={t.preview.blockedPort}>
        <span className={styles.number}>{port}</span>
        <span className={styles.note}>{t.ports.blocked}</span>
      </li>
    );
  }
  return (
    <li className={styles.port}>
      <button
        type="button"
        className={styles.open}
        aria-label={t.ports.open(port)}
        onClick={() => {
          ws.surface.setState({ port });
          changeLayout({ rightOpen: true, rightView: "preview", mobilePane: "preview" });
        }}
      >
        <span className={styles.lamp} />
        <span className={styles.number}>{port}</span>
        <span className={styles.address}>{new URL(url).host}</span>
      </button>
      <IconButton
        size="small"
        label={t.ports.copy}
        onClick={() => void copyOrSay(url, t.copyFailed)}
      >
        <Copy size={13} />
      </IconButton>
      <IconButton
        size="small"
        label={t.ports.newTab}
        onClick={() => window.open(url, "_blank", "noopener,noreferrer")}
      >
        <ExternalLink size={13} />
      </IconButton>
    </li>
  );
}
