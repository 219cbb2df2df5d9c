import type { ReactNode } from "react";
import styles from "./Message.module.css";

interface MessageProps {
  icon?: ReactNode;
  title: string;
  /** What happened, and whether work is safe. */
  children?: ReactNode;
  /** One next step. */
  action?: ReactNode;
  tone?: "calm" | "warn" | "danger";
  /** How much room it has. */
  size?: "page" | "pane";
}

/** Something to say in the middle of an empty place. */
export function Message({
  icon,
  title,
  children,
  action,
  tone = "calm",
  size = "pane",
}: MessageProps) {
  const Title = size === "page" ? "h1" : "h2";
  return (
    <section className={styles.message} data-size={size} data-tone={tone}>
      {icon !== undefined && <div className={styles.icon}>{icon}</div>}
      <Title className={styles.title}>{title}</Title>
      {children !== undefined && <div className={styles.text}>{children}</div>}
      {action !== undefined && <div className={styles.action}>{action}</div>}
    </section>
  );
}
