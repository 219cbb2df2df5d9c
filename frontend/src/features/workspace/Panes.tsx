import { EditorArea } from "@/features/editing/EditorArea";
import { SIZES, useLayout } from "@/features/layout/layout";
import { Panel } from "@/features/panel/Panel";
import { FollowBar } from "@/features/people/FollowBar";
import { t } from "@/strings/en";
import { Divider } from "@/ui/Divider";
import { Rail } from "./Rail";
import { RightPane } from "./RightPane";
import { SideBar } from "./SideBar";
import styles from "./Layout.module.css";

/** The panes of a wide window. */
export function Panes() {
  const layout = useLayout();
  const { change } = layout;
  return (
    <div className={styles.panes}>
      <Rail />
      {layout.sidebarOpen && (
        <>
          <aside
            className={styles.sidebar}
            style={{ width: layout.sidebarWidth }}
            aria-label={t.workspace.sidebar}
          >
            <SideBar />
          </aside>
          <Divider
            label={t.workspace.resizeSidebar}
            orientation="vertical"
            direction={1}
            size={layout.sidebarWidth}
            {...SIZES.sidebar}
            onResize={(sidebarWidth) => change({ sidebarWidth })}
            onReset={() => change({ sidebarWidth: SIZES.sidebar.initial })}
          />
        </>
      )}
      <div className={styles.middle}>
        <div className={styles.upper}>
          <EditorArea />
          <FollowBar />
        </div>
        {layout.panelOpen && (
          <>
            <Divider
              label={t.workspace.resizePanel}
              orientation="horizontal"
              direction={-1}
              size={layout.panelHeight}
              {...SIZES.panel}
              onResize={(panelHeight) => change({ panelHeight })}
              onReset={() => change({ panelHeight: SIZES.panel.initial })}
            />
            <div className={styles.panel} style={{ height: layout.panelHeight }}>
              <Panel compact={false} />
            </div>
          </>
        )}
      </div>
      {layout.rightOpen && (
        <>
          <Divider
            label={t.workspace.resizeRight}
            orientation="vertical"
            direction={-1}
            size={layout.rightWidth}
            {...SIZES.right}
            onResize={(rightWidth) => change({ rightWidth })}
            onReset={() => change({ rightWidth: SIZES.right.initial })}
          />
          <div className={styles.rightBox} style={{ width: layout.rightWidth }}>
            <RightPane />
          </div>
        </>
      )}
    </div>
  );
}
