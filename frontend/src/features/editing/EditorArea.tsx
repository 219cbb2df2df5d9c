import { useLayout } from "@/features/layout/layout";
import { useTabs } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Divider } from "@/ui/Divider";
import { useBoxWidth } from "@/ui/useBoxWidth";
import { EditorGroup } from "./EditorGroup";
import styles from "./Editing.module.css";

/** One or two editors side by side. */
export function EditorArea() {
  const split = useTabs(({ groups }) => groups.length > 1);
  const splitAt = useLayout((layout) => layout.splitAt);
  const change = useLayout((layout) => layout.change);
  const [box, width] = useBoxWidth();
  return (
    <main ref={box} className={styles.area}>
      <div
        className={styles.side}
        style={split ? { flex: `0 0 ${splitAt * 100}%` } : { flex: "1 1 0" }}
      >
        <EditorGroup group={0} />
      </div>
      {split && (
        <>
          <Divider
            label={t.workspace.resizeSplit}
            orientation="vertical"
            direction={1}
            size={Math.round(splitAt * width)}
            min={160}
            max={Math.max(160, width - 160)}
            onResize={(size) => change({ splitAt: size / width })}
            onReset={() => change({ splitAt: 0.5 })}
          />
          <div className={styles.side}>
            <EditorGroup group={1} />
          </div>
        </>
      )}
    </main>
  );
}
