import type { ComponentProps, ReactNode } from "react";
import { classes } from "./classes";
import { Tooltip } from "./Tooltip";
import styles from "./IconButton.module.css";

export interface IconButtonProps extends Omit<ComponentProps<"button">, "children"> {
  /** Its name, for everybody. */
  label: string;
  children: ReactNode;
  keys?: string | undefined;
  pressed?: boolean | undefined;
  size?: "small" | "medium" | "large";
  side?: "top" | "right" | "bottom" | "left";
  /** Why it cannot be used now. */
  blocked?: string | undefined;
}

/** A button that is only an icon, and says its name on hover and focus. */
export function IconButton({
  label,
  children,
  keys,
  pressed,
  size = "medium",
  side = "bottom",
  blocked,
  className,
  onClick,
  ...rest
}: IconButtonProps) {
  const text = blocked === undefined ? label : `${label}: ${blocked}`;
  return (
    <Tooltip label={text} keys={blocked === undefined ? keys : undefined} side={side}>
      <button
        type="button"
        {...rest}
        className={classes(styles.button, styles[size], className)}
        aria-label={label}
        aria-pressed={pressed}
        aria-disabled={blocked !== undefined || undefined}
        onClick={(event) => {
          if (blocked === undefined) onClick?.(event);
          else event.preventDefault();
        }}
      >
        {children}
      </button>
    </Tooltip>
  );
}
