import { useEffect, useSyncExternalStore } from "react";
import { useSettings } from "./settings";

export type Theme = "dark" | "light";

const systemDark = () => window.matchMedia("(prefers-color-scheme: dark)");

function watchSystem(listener: () => void): () => void {
  const query = systemDark();
  query.addEventListener("change", listener);
  return () => query.removeEventListener("change", listener);
}

/** The theme in force. */
export function useTheme(): Theme {
  const choice = useSettings((settings) => settings.theme);
  const dark = useSyncExternalStore(watchSystem, () => systemDark().matches);
  if (choice !== "system") return choice;
  return dark ? "dark" : "light";
}

/** Puts the theme onto the page before anything is drawn. */
export function showStoredTheme(): void {
  const { theme } = useSettings.getState();
  const dark = theme === "dark" || (theme === "system" && systemDark().matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

/** Puts the theme in force onto the page. Called once, at the root. */
export function useApplyTheme(): Theme {
  const theme = useTheme();
  const fontSize = useSettings((settings) => settings.editorFontSize);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => {
    document.documentElement.style.setProperty("--editor-font-size", `${fontSize}px`);
  }, [fontSize]);
  return theme;
}
