import * as Radix from "@radix-ui/react-dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { classes } from "./classes";
import { IconButton } from "./IconButton";
import styles from "./Dialog.module.css";

interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: string;
  /** One or two sentences under the title. */
  description?: ReactNode;
  closeLabel: string;
  width?: "narrow" | "medium" | "wide";
  footer?: ReactNode;
  children?: ReactNode;
}

/** A modal question or task. */
export function Dialog(props: DialogProps) {
  const { open, onClose, title, description, closeLabel, width = "medium", footer } = props;
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content
          className={classes(styles.content, styles[width])}
          onOpenAutoFocus={(event) => {
            // Only a field takes the focus; a button with it would look chosen.
            event.preventDefault();
            if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus();
          }}
          {...(description === undefined && { "aria-describedby": undefined })}
        >
          <header className={styles.header}>
            <div>
              <Radix.Title className={styles.title}>{title}</Radix.Title>
              {description !== undefined && (
                <Radix.Description className={styles.description}>{description}</Radix.Description>
              )}
            </div>
            <IconButton label={closeLabel} onClick={onClose}>
              <X size={16} />
            </IconButton>
          </header>
          {props.children !== undefined && <div className={styles.body}>{props.children}</div>}
          {footer !== undefined && <footer className={styles.footer}>{footer}</footer>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
