import { useId, type ComponentProps, type ReactNode } from "react";
import { classes } from "./classes";
import styles from "./TextField.module.css";

export interface TextFieldProps extends ComponentProps<"input"> {
  label: string;
  /** Keeps the label for screen readers only. */
  hideLabel?: boolean;
  icon?: ReactNode;
  hint?: string | undefined;
  error?: string | undefined;
}

/** One line of text with its name, hint and error. */
export function TextField(props: TextFieldProps) {
  const { label, hideLabel = false, icon, hint, error, className, ...input } = props;
  const id = useId();
  const note = error ?? hint;
  return (
    <div className={classes(styles.field, className)}>
      <label htmlFor={id} className={hideLabel ? "visually-hidden" : styles.label}>
        {label}
      </label>
      <div className={styles.box} data-invalid={error !== undefined || undefined}>
        {icon}
        <input
          id={id}
          autoComplete="off"
          spellCheck={false}
          {...input}
          className={styles.input}
          aria-invalid={error !== undefined || undefined}
          aria-describedby={note === undefined ? undefined : `${id}-note`}
        />
      </div>
      {note !== undefined && (
        <p id={`${id}-note`} className={error === undefined ? styles.hint : styles.error}>
          {note}
        </p>
      )}
    </div>
  );
}
