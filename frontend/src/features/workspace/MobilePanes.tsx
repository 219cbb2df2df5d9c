import { Code, Files, Globe, SquareTerminal } from "lucide-react";
import type { ReactNode } from "react";
import { EditorArea } from "@/features/editing/EditorArea";
import { useLayout, type MobilePane } from "@/features/layout/layout";
import { Panel } from "@/features/panel/Panel";
import { FollowBar } from "@/features/people/FollowBar";
import { Preview } from "@/features/preview/Preview";
import { t } from "@/strings/en";
import { Segmented } from "@/ui/Segmented";
import { KeyRow } from "./KeyRow";
import { SideBar } from "./SideBar";
import { useEditBlock, useHistoryShown } from "./useWorkspace";
import styles from "./Mobile.module.css";

const panes: { pane: MobilePane; icon: ReactNode }[] = [
  { pane: "files", icon: <Files size={19} /> },
  { pane: "editor", icon: <Code size={19} /> },
  { pane: "terminal", icon: <SquareTerminal size={19} /> },
  { pane: "preview", icon: <Globe size={19} /> },
];

/** One pane at a time, chosen by the bar at the bottom. */
export function MobilePanes() {
  const pane = useLayout((layout) => layout.mobilePane);
  const blocked = useEditBlock();
  const view = useLayout((layout) => layout.sidebarView);
  const change = useLayout((layout) => layout.change);
  const past = useHistoryShown(({ shown }) => shown !== null);
  return (
    <div className={styles.mobile}>
      <div className={styles.pane}>
        {pane === "files" && (
          <div className={styles.files}>
            <div className={styles.views}>
              <Segmented
                label={t.workspace.rail}
                value={view}
                options={[
                  { value: "files", label: t.workspace.files },
                  { value: "history", label: t.history.title },
                  { value: "ports", label: t.workspace.ports },
                  { value: "settings", label: t.workspace.settings },
                ]}
                onChange={(sidebarView) => change({ sidebarView })}
              />
            </div>
            <div className={styles.view}>
              <SideBar />
            </div>
          </div>
        )}
        {pane === "editor" && (
          <>
            <EditorArea />
            <FollowBar />
          </>
        )}
        {pane === "terminal" && <Panel compact />}
        {pane === "preview" && <Preview />}
      </div>
      {blocked === undefined && (pane === "terminal" || (pane === "editor" && !past)) && (
        <KeyRow pane={pane} />
      )}
      <nav className={styles.nav} aria-label={t.workspace.mobileNav}>
        {panes.map(({ pane: one, icon }) => (
          <button
            key={one}
            type="button"
            className={styles.tab}
            aria-current={one === pane ? "page" : undefined}
            onClick={() => change({ mobilePane: one })}
          >
            {icon}
            {t.workspace.panes[one]}
          </button>
        ))}
      </nav>
    </div>
  );
}
