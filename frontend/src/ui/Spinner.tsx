import styles from "./Spinner.module.css";

/** Something is under way; the text beside it says what. */
export function Spinner({ size = 14 }: { size?: number }) {
  return <span className={styles.spinner} style={{ width: size, height: size }} aria-hidden />;
}
