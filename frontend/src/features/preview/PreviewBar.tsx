import {
  ArrowLeft,
  ArrowRight,
  Check,
  Copy,
  ExternalLink,
  Monitor,
  MonitorSmartphone,
  RotateCw,
  Smartphone,
  Tablet,
} from "lucide-react";
import { useState, type FormEvent } from "react";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { copyText } from "@/ui/copy";
import { IconButton } from "@/ui/IconButton";
import { Menu } from "@/ui/Menu";
import type { Device } from "./devices";
import { useUsablePorts } from "./usePreview";
import styles from "./Preview.module.css";

interface PreviewBarProps {
  port: number;
  path: string;
  address: string;
  device: Device;
  canGoBack: boolean;
  canGoForward: boolean;
  onBack: () => void;
  onForward: () => void;
  onReload: () => void;
  onPath: (path: string) => void;
  onDevice: (device: Device) => void;
}

const devices: { device: Device; label: string; icon: typeof Monitor }[] = [
  { device: "full", label: t.preview.widthFull, icon: MonitorSmartphone },
  { device: "phone", label: t.preview.widthPhone, icon: Smartphone },
  { device: "tablet", label: t.preview.widthTablet, icon: Tablet },
  { device: "desktop", label: t.preview.widthDesktop, icon: Monitor },
];

/** Where the preview is and how it is looked at. */
export function PreviewBar(props: PreviewBarProps) {
  const { path, address, device, canGoBack, canGoForward } = props;
  const chosen = devices.find((one) => one.device === device) ?? devices[0];
  const Icon = chosen?.icon ?? Monitor;
  return (
    <div className={styles.bar}>
      <IconButton size="small" label={t.preview.back} disabled={!canGoBack} onClick={props.onBack}>
        <ArrowLeft size={15} />
      </IconButton>
      <IconButton
        size="small"
        label={t.preview.forward}
        disabled={!canGoForward}
        onClick={props.onForward}
      >
        <ArrowRight size={15} />
      </IconButton>
      <IconButton size="small" label={t.preview.reload} onClick={props.onReload}>
        <RotateCw size={14} />
      </IconButton>
      <div className={styles.address}>
        <PortMenu port={props.port} />
        <PathField key={path} path={path} onPath={props.onPath} />
        <CopyAddress address={address} />
      </div>
      <Menu
        align="end"
        items={devices.map((one) => ({
          label: one.label,
          icon: <one.icon size={14} />,
          checked: one.device === device,
          onSelect: () => props.onDevice(one.device),
        }))}
      >
        <IconButton size="small" label={t.preview.width}>
          <Icon size={15} />
        </IconButton>
      </Menu>
      <IconButton
        size="small"
        label={t.preview.openInTab}
        onClick={() => window.open(address, "_blank", "noopener,noreferrer")}
      >
        <ExternalLink size={14} />
      </IconButton>
    </div>
  );
}

function PortMenu({ port }: { port: number }) {
  const ws = useWorkspace();
  const usable = useUsablePorts();
  return (
    <Menu
      items={usable.map((one) => ({
        label: t.preview.port(one.port),
        checked: one.port === port,
        onSelect: () => ws.surface.setState({ port: one.port }),
      }))}
    >
      <button type="button" className={styles.port} aria-label={t.preview.ports}>
        :{port}
      </button>
    </Menu>
  );
}

function PathField({ path, onPath }: { path: string; onPath: (path: string) => void }) {
  const [text, setText] = useState(path);
  const go = (event: FormEvent) => {
    event.preventDefault();
    onPath(text.trim() === "" || text === t.preview.unknownPath ? "/" : text);
  };
  return (
    <form className={styles.path} onSubmit={go}>
      <input
        aria-label={t.preview.path}
        value={text}
        spellCheck={false}
        autoComplete="off"
        autoCapitalize="off"
        onChange={(event) => setText(event.target.value)}
        onFocus={(event) => event.target.select()}
      />
    </form>
  );
}

function CopyAddress({ address }: { address: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await copyText(address))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <IconButton
      size="small"
      label={copied ? t.copied : t.preview.copyAddress}
      onClick={() => void copy()}
    >
      {copied ? <Check size={13} /> : <Copy size={13} />}
    </IconButton>
  );
}
