/** Which panes are open and how large they are; kept in localStorage for this browser. */
import { create } from "zustand";
import { persist } from "zustand/middleware";

export type SidebarView = "files" | "history" | "ports" | "settings";
export type RightView = "preview" | "console";
export type MobilePane = "files" | "editor" | "terminal" | "preview";

/** A third of the window, and no more than a page needs. */
function preferredRightWidth(): number {
  const window = typeof innerWidth === "number" ? innerWidth : 1440;
  return Math.round(Math.min(480, Math.max(300, window * 0.33)));
}

export const SIZES = {
  sidebar: { initial: 248, min: 180, max: 520 },
  panel: { initial: 240, min: 100, max: 800 },
  right: { initial: preferredRightWidth(), min: 260, max: 1400 },
};

interface Layout {
  sidebarOpen: boolean;
  sidebarView: SidebarView;
  sidebarWidth: number;
  panelOpen: boolean;
  panelHeight: number;
  rightOpen: boolean;
  rightView: RightView;
  rightWidth: number;
  /** Share of the left side when the editor is split, 0–1. */
  splitAt: number;
  /** Where the console is. */
  consoleAt: "bottom" | "right";
  mobilePane: MobilePane;
}

interface LayoutStore extends Layout {
  change: (change: Partial<Layout>) => void;
}

const initial: Layout = {
  sidebarOpen: true,
  sidebarView: "files",
  sidebarWidth: SIZES.sidebar.initial,
  panelOpen: true,
  panelHeight: SIZES.panel.initial,
  rightOpen: false,
  rightView: "preview",
  rightWidth: SIZES.right.initial,
  splitAt: 0.5,
  consoleAt: "bottom",
  mobilePane: "editor",
};

export const useLayout = create<LayoutStore>()(
  persist((set) => ({ ...initial, change: (change) => set(change) }), {
    name: "tandem.layout",
    version: 1,
  }),
);

/** Changes the layout from outside of components. */
export const changeLayout = (change: Partial<Layout>) => useLayout.setState(change);
