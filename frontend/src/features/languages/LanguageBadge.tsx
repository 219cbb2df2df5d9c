import type { CSSProperties } from "react";
import { lookOf } from "./languages";
import styles from "./LanguageBadge.module.css";

/** A language as a small coloured plate. Decorative: its name stands beside it. */
export function LanguageBadge({ language, size = 36 }: { language: string; size?: number }) {
  const { sign, hue } = lookOf(language);
  const style = {
    "--hue": hue,
    width: size,
    height: size,
    fontSize: size * (sign.length > 2 ? 0.31 : 0.38),
  } as CSSProperties;
  return (
    <span className={styles.badge} style={style} aria-hidden>
      {sign}
    </span>
  );
}
