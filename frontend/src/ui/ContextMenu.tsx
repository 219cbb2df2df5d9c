import * as Radix from "@radix-ui/react-context-menu";
import type { ReactElement } from "react";
import type { MenuItem } from "./menu";
import { MenuItems } from "./MenuItems";
import styles from "./MenuItems.module.css";

/** A menu at the pointer, by right click, long press or the menu key. */
export function ContextMenu({ items, children }: { items: MenuItem[]; children: ReactElement }) {
  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          className={styles.content}
          collisionPadding={8}
          onCloseAutoFocus={(event) => {
            if (document.activeElement instanceof HTMLInputElement) event.preventDefault();
          }}
        >
          <MenuItems items={items} parts={Radix} />
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
