import { chordParts } from "./chord";
import { classes } from "./classes";
import styles from "./Keys.module.css";

/** A key chord as key caps. */
export function Keys({ chord, className }: { chord: string; className?: string }) {
  return (
    <span className={classes(styles.keys, className)} aria-label={chordParts(chord).join(" ")}>
      {chordParts(chord).map((part) => (
        <kbd key={part} className={styles.key} aria-hidden>
          {part}
        </kbd>
      ))}
    </span>
  );
}
