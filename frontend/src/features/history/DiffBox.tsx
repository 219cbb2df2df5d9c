import { useEffect, useRef, useState, type ReactNode } from "react";
import { ArrowDown, ArrowUp, FileDiff } from "lucide-react";
import { DiffView } from "@/editor/history/diffView";
import { useSettings } from "@/features/settings/settings";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import styles from "./Past.module.css";

interface DiffBoxProps {
  path: string;
  version: string;
  present: string;
  /** What stands before the count of differences. */
  children?: ReactNode;
}

/** A text beside the present one. */
export function DiffBox({ path, version, present, children }: DiffBoxProps) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<DiffView | null>(null);
  const newest = useRef(present);
  const [count, setCount] = useState(0);
  const [marked, setMarked] = useState(true);
  const wrap = useSettings((settings) => settings.wrap);
  const fontSize = useSettings((settings) => settings.editorFontSize);
  useEffect(() => {
    if (box.current === null) return;
    const made = new DiffView(box.current, { path, version, present: newest.current }, setCount);
    view.current = made;
    return () => {
      view.current = null;
      made.dispose();
    };
  }, [path, version]);
  useEffect(() => {
    newest.current = present;
    view.current?.setPresent(present);
  }, [present]);
  useEffect(() => view.current?.showDifferences(marked), [marked, version]);
  useEffect(() => view.current?.setWrap(wrap), [wrap, version]);
  return (
    <>
      <div className={styles.tools}>
        {children}
        <span className={styles.count} role="status">
          {count === 0 ? t.history.noDifferences : t.history.differences(count)}
        </span>
        {count > 0 && marked && (
          <>
            <span className={styles.legend} data-tone="here">
              {t.history.onlyHere}
            </span>
            <span className={styles.legend} data-tone="present">
              {t.history.onlyPresent}
            </span>
          </>
        )}
        <span className={styles.space} />
        {count > 0 && (
          <>
            <IconButton
              size="small"
              label={t.history.previousDifference}
              onClick={() => view.current?.previous()}
            >
              <ArrowUp size={14} />
            </IconButton>
            <IconButton
              size="small"
              label={t.history.nextDifference}
              onClick={() => view.current?.next()}
            >
              <ArrowDown size={14} />
            </IconButton>
            <IconButton
              size="small"
              label={t.history.showDifferences}
              pressed={marked}
              onClick={() => setMarked(!marked)}
            >
              <FileDiff size={14} />
            </IconButton>
          </>
        )}
      </div>
      <div
        ref={box}
        className={styles.text}
        style={{ "--editor-font-size": `${fontSize}px` } as React.CSSProperties}
      />
    </>
  );
}
