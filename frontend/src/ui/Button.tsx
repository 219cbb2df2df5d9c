import type { ComponentProps, ReactNode } from "react";
import { classes } from "./classes";
import { Spinner } from "./Spinner";
import { Tooltip } from "./Tooltip";
import styles from "./Button.module.css";

export interface ButtonProps extends ComponentProps<"button"> {
  variant?: "primary" | "secondary" | "ghost" | "danger" | "go" | "halt";
  size?: "small" | "medium" | "large";
  icon?: ReactNode;
  busy?: boolean;
  /** Why it cannot be used now. It stays focusable, so that the reason can be read. */
  blocked?: string | undefined;
  keys?: string | undefined;
  /** Shown on hover when the label alone says too little. */
  hint?: string | undefined;
}

/** The product's push button. */
export function Button({
  variant = "secondary",
  size = "medium",
  icon,
  busy = false,
  blocked,
  keys,
  hint,
  children,
  className,
  onClick,
  ...rest
}: ButtonProps) {
  const off = blocked !== undefined || busy;
  const button = (
    <button
      type="button"
      {...rest}
      className={classes(styles.button, styles[variant], styles[size], className)}
      aria-disabled={off || undefined}
      aria-busy={busy || undefined}
      onClick={(event) => {
        if (off) event.preventDefault();
        else onClick?.(event);
      }}
    >
      {busy ? <Spinner /> : icon}
      {children !== undefined && <span className={styles.label}>{children}</span>}
    </button>
  );
  const label = blocked ?? hint ?? (keys === undefined ? undefined : rest["aria-label"]);
  if (label === undefined && keys === undefined) return button;
  return (
    <Tooltip label={label ?? children} keys={blocked === undefined ? keys : undefined}>
      {button}
    </Tooltip>
  );
}
