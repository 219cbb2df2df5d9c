import type { ReactNode } from "react";

/** One line of a menu. */
export interface MenuAction {
  kind?: "action";
  label: string;
  icon?: ReactNode;
  keys?: string | undefined;
  danger?: boolean;
  /** A mark in front: the choice in force. */
  checked?: boolean;
  /** Why it cannot be used now; shown as a second line. */
  blocked?: string | undefined;
  onSelect: () => void;
}

/** What a menu is made of, for drop-down and context menus alike. */
export type MenuItem = MenuAction | { kind: "separator" } | { kind: "heading"; label: string };
