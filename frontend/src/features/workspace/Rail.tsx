import { Files, History, Home, Radio, Settings } from "lucide-react";
import type { ReactNode } from "react";
import { useNavigate } from "@tanstack/react-router";
import { useLayout, type SidebarView } from "@/features/layout/layout";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { useLive } from "./useWorkspace";
import styles from "./Layout.module.css";

const views: { view: SidebarView; label: string; icon: ReactNode; keys?: string }[] = [
  { view: "files", label: t.workspace.files, icon: <Files size={19} />, keys: "Mod+Shift+E" },
  { view: "history", label: t.history.title, icon: <History size={19} />, keys: "Mod+Shift+H" },
  { view: "ports", label: t.workspace.ports, icon: <Radio size={19} /> },
];

/** The narrow strip that chooses the view of the side bar. */
export function Rail() {
  const navigate = useNavigate();
  const open = useLayout((layout) => layout.sidebarOpen);
  const shown = useLayout((layout) => layout.sidebarView);
  const change = useLayout((layout) => layout.change);
  const ports = useLive((live) => live.ports.length) ?? 0;
  const choose = (view: SidebarView) =>
    change({ sidebarOpen: !(open && shown === view), sidebarView: view });
  return (
    <nav className={styles.rail} aria-label={t.workspace.rail}>
      {views.map(({ view, label, icon, keys }) => (
        <IconButton
          key={view}
          size="large"
          side="right"
          label={label}
          keys={keys}
          pressed={open && shown === view}
          onClick={() => choose(view)}
        >
          <span className={styles.railIcon}>
            {icon}
            {view === "ports" && ports > 0 && <span className={styles.badge}>{ports}</span>}
          </span>
        </IconButton>
      ))}
      <span className={styles.railSpace} />
      <IconButton
        size="large"
        side="right"
        label={t.workspace.home}
        onClick={() => void navigate({ to: "/" })}
      >
        <Home size={19} />
      </IconButton>
      <IconButton
        size="large"
        side="right"
        label={t.workspace.settings}
        keys="Mod+,"
        pressed={open && shown === "settings"}
        onClick={() => choose("settings")}
      >
        <Settings size={19} />
      </IconButton>
    </nav>
  );
}
