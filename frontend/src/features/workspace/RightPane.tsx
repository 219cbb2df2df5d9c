import { X } from "lucide-react";
import { useLayout, type RightView } from "@/features/layout/layout";
import { Preview } from "@/features/preview/Preview";
import { Console } from "@/features/run/Console";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { Segmented } from "@/ui/Segmented";
import styles from "./Layout.module.css";

/** Preview, or the console when it was moved here. */
export function RightPane() {
  const view = useLayout((layout) => layout.rightView);
  const consoleHere = useLayout((layout) => layout.consoleAt === "right");
  const change = useLayout((layout) => layout.change);
  const shown: RightView = consoleHere ? view : "preview";
  return (
    <section className={styles.right} aria-label={t.preview.title}>
      <header className={styles.rightHeader}>
        {consoleHere ? (
          <Segmented<RightView>
            label={t.preview.title}
            value={shown}
            options={[
              { value: "preview", label: t.preview.title },
              { value: "console", label: t.run.console },
            ]}
            onChange={(rightView) => change({ rightView })}
          />
        ) : (
          <h2 className={styles.rightTitle}>{t.preview.title}</h2>
        )}
        <IconButton
          size="small"
          label={t.preview.close}
          onClick={() => change({ rightOpen: false })}
        >
          <X size={15} />
        </IconButton>
      </header>
      <div className={styles.rightBody}>
        {shown === "console" ? <Console focus={false} /> : <Preview />}
      </div>
    </section>
  );
}
