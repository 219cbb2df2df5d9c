import { Check } from "lucide-react";
import type { ComponentType, ReactNode } from "react";
import { classes } from "./classes";
import { Keys } from "./Keys";
import type { MenuAction, MenuItem } from "./menu";
import styles from "./MenuItems.module.css";

interface ItemProps {
  className?: string | undefined;
  disabled?: boolean;
  onSelect?: (event: Event) => void;
  children?: ReactNode;
}

/** What the two kinds of Radix menus have in common. */
interface MenuParts {
  Item: ComponentType<ItemProps>;
  Separator: ComponentType<{ className?: string | undefined }>;
  Label: ComponentType<{ className?: string | undefined; children?: ReactNode }>;
}

/** The lines of a menu. */
export function MenuItems({ items, parts }: { items: MenuItem[]; parts: MenuParts }) {
  const marked = items.some((item) => "checked" in item);
  return items.map((item, index) => {
    if (item.kind === "separator") {
      return <parts.Separator key={index} className={styles.separator} />;
    }
    if (item.kind === "heading") {
      return (
        <parts.Label key={index} className={styles.heading}>
          {item.label}
        </parts.Label>
      );
    }
    return (
      <parts.Item
        key={index}
        className={classes(styles.item, item.danger === true && styles.danger)}
        disabled={item.blocked !== undefined}
        onSelect={item.onSelect}
      >
        <Line item={item} marked={marked} />
      </parts.Item>
    );
  });
}

function Line({ item, marked }: { item: MenuAction; marked: boolean }) {
  return (
    <>
      {marked && (
        <span className={styles.mark}>{item.checked === true && <Check size={14} />}</span>
      )}
      {item.icon !== undefined && <span className={styles.mark}>{item.icon}</span>}
      <span className={styles.text}>
        {item.label}
        {item.blocked !== undefined && <small className={styles.reason}>{item.blocked}</small>}
      </span>
      {item.keys !== undefined && <Keys chord={item.keys} />}
    </>
  );
}
