/** Which panes are open and how large they are; kept in localStorage for this browser. */
import { create } from "zustand";
import { persist } from "zustand/middleware";

export type SidebarView = "files" | "ports" | "settings";
export type RightView = "preview" | "console";
export type MobilePane = "files" | "editor" | "terminal" | "preview";

export const SIZES = {
  sidebar: { initial: 248, min: 180, max: 520 },
  panel: { initial: 240, min: 100, max: 800 },
  right: { initial: 480, min: 260, max: 1400 },
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
