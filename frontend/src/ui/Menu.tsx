import * as Radix from "@radix-ui/react-dropdown-menu";
import type { ReactElement } from "react";
import type { MenuItem } from "./menu";
import { MenuItems } from "./MenuItems";
import styles from "./MenuItems.module.css";

interface MenuProps {
  items: MenuItem[];
  /** The button that opens it. */
  children: ReactElement;
  align?: "start" | "center" | "end";
  side?: "top" | "right" | "bottom" | "left";
}

/** A menu under a button. */
export function Menu({ items, children, align = "start", side = "bottom" }: MenuProps) {
  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          className={styles.content}
          align={align}
          side={side}
          sideOffset={4}
          collisionPadding={8}
          onCloseAutoFocus={keepNewFocus}
        >
          <MenuItems items={items} parts={Radix} />
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** An action that opened a field or dialog keeps the focus it took. */
function keepNewFocus(event: Event) {
  const active = document.activeElement;
  if (active instanceof HTMLInputElement) event.preventDefault();
}
