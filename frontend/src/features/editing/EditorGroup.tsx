import { lazy, Suspense, useMemo } from "react";
import { isOver } from "@/features/history/shown";
import { EMPTY_GROUP, type Tab } from "@/features/tabs/model";
import { TabBar } from "@/features/tabs/TabBar";
import { useHistoryShown, useTabs, useWorkspace } from "@/features/workspace/useWorkspace";
import { classes } from "@/ui/classes";
import { BlobFile } from "./BlobFile";
import { Breadcrumbs } from "./Breadcrumbs";
import { NoFile } from "./NoFile";
import { TextFile } from "./TextFile";
import styles from "./Editing.module.css";

const HistoryLayer = lazy(async () => ({
  default: (await import("@/features/history/HistoryLayer")).HistoryLayer,
}));

/** Files behind the one in front that stay alive, with their place and undo. */
const KEPT = 6;

/** One side of the editor area: tabs, path, the file in front. */
export function EditorGroup({ group: at }: { group: number }) {
  const ws = useWorkspace();
  const group = useTabs(({ groups }) => groups[at] ?? EMPTY_GROUP);
  const focused = useTabs((tabs) => tabs.focused === at);
  const alive = useMemo(() => {
    const kept = group.recent.slice(0, KEPT);
    return group.tabs.filter(({ file }) => file === group.active || kept.includes(file));
  }, [group]);
  const shown = useHistoryShown((history) => history.shown);
  const past = shown !== null && focused && isOver(shown, group.active) ? shown : null;
  const active = group.tabs.find(({ file }) => file === group.active);
  return (
    <div
      className={styles.group}
      onFocusCapture={() => {
        if (!focused) ws.tabs.setState({ focused: at });
      }}
    >
      <TabBar group={at} />
      {active === undefined ? past === null && <NoFile /> : <Breadcrumbs path={active.path} />}
      <div
        className={classes(styles.stack, active === undefined && past === null && styles.noStack)}
      >
        {alive.map((tab) => (
          <Layer
            key={tab.file}
            tab={tab}
            group={at}
            active={tab.file === group.active && past === null}
            focused={focused && tab.file === group.active}
          />
        ))}
        {past !== null && (
          <div className={styles.layer} data-active>
            <Suspense fallback={null}>
              <HistoryLayer shown={past} />
            </Suspense>
          </div>
        )}
      </div>
    </div>
  );
}

interface LayerProps {
  tab: Tab;
  group: number;
  active: boolean;
  focused: boolean;
}

function Layer({ tab, group, active, focused }: LayerProps) {
  return (
    <div className={styles.layer} data-active={active || undefined} inert={!active}>
      {tab.kind === "text" ? (
        <TextFile tab={tab} group={group} focused={focused} />
      ) : (
        active && <BlobFile tab={tab} />
      )}
    </div>
  );
}
