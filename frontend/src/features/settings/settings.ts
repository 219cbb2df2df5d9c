/** What a person sets for this browser; kept in localStorage. */
import { create } from "zustand";
import { persist } from "zustand/middleware";

export type ThemeChoice = "system" | "dark" | "light";

interface Settings {
  theme: ThemeChoice;
  editorFontSize: number;
  terminalFontSize: number;
  wrap: boolean;
  screenReader: boolean;
  /** Who wrote each line, beside it. */
  blame: boolean;
}

interface SettingsStore extends Settings {
  change: (change: Partial<Settings>) => void;
}

export const FONT_SIZES = { min: 10, max: 24 };

export const useSettings = create<SettingsStore>()(
  persist(
    (set) => ({
      theme: "system",
      editorFontSize: 13,
      terminalFontSize: 13,
      wrap: false,
      screenReader: false,
      blame: false,
      change: (change) => set(change),
    }),
    { name: "tandem.settings", version: 1 },
  ),
);
