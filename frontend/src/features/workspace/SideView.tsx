import type { ReactNode } from "react";
import styles from "./SideView.module.css";

interface SideViewProps {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}

/** A view of the side bar: a title, its actions, its contents. */
export function SideView({ title, actions, children }: SideViewProps) {
  return (
    <section className={styles.view} aria-label={title}>
      <header className={styles.header}>
        <h2 className={styles.title}>{title}</h2>
        {actions !== undefined && <div className={styles.actions}>{actions}</div>}
      </header>
      {children}
    </section>
  );
}
