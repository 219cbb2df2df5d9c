import type { CSSProperties } from "react";
import styles from "./Skeleton.module.css";

/** The shape of what is on its way. */
export function Skeleton({
  width = "100%",
  height = 12,
  radius,
}: {
  width?: CSSProperties["width"];
  height?: CSSProperties["height"];
  radius?: CSSProperties["borderRadius"];
}) {
  return (
    <span className={styles.skeleton} style={{ width, height, borderRadius: radius }} aria-hidden />
  );
}
