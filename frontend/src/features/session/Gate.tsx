import type { ReactNode } from "react";
import { t } from "@/strings/en";
import { Logo } from "@/ui/Logo";
import styles from "./Gate.module.css";

/** The frame of every page before or beside the product: a mark, a title, one next step. */
export function Gate({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <main className={styles.gate}>
      <div className={styles.card}>
        <div className={styles.brand}>
          <Logo size={28} />
          <span>{t.product}</span>
        </div>
        <h1 className={styles.title}>{title}</h1>
        {children}
      </div>
    </main>
  );
}
