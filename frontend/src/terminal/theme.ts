/** A terminal's colours and font, read from the page's CSS variables. */
import type { ITheme } from "@xterm/xterm";

const COLOURS: Record<string, [light: string, dark: string]> = {
  background: ["#ffffff", "#14171d"],
  foreground: ["#24292f", "#d7dce5"],
  cursor: ["#1d5fbf", "#82aaff"],
  cursorAccent: ["#ffffff", "#14171d"],
  selectionBackground: ["#cfe1ff", "#2d4468"],
  black: ["#24292f", "#2c323d"],
  red: ["#b3261e", "#f28b82"],
  green: ["#1f7a3d", "#8bd49c"],
  yellow: ["#7a5b00", "#e6c384"],
  blue: ["#1d5fbf", "#82aaff"],
  magenta: ["#8a2fb3", "#c792ea"],
  cyan: ["#0f6c7d", "#7fd1de"],
  white: ["#6a7280", "#c6ccd6"],
  brightBlack: ["#6a7280", "#7d8799"],
  brightRed: ["#cf3a31", "#ff9d94"],
  brightGreen: ["#2a8f4c", "#a5e3b4"],
  brightYellow: ["#946f00", "#f5d9a0"],
  brightBlue: ["#2f74da", "#a3c1ff"],
  brightMagenta: ["#a142cc", "#dbaef5"],
  brightCyan: ["#178093", "#a0e4ee"],
  brightWhite: ["#8b94a6", "#ffffff"],
};

const dashed = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Resolves every colour as the browser would inside `element`. */
export function readTheme(element: HTMLElement): ITheme {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.append(probe);
  const style = getComputedStyle(probe);
  const theme: Record<string, string> = {};
  for (const [name, [light, dark]] of Object.entries(COLOURS)) {
    probe.style.color = `var(--terminal-${dashed(name)}, light-dark(${light}, ${dark}))`;
    theme[name] = style.color;
  }
  probe.remove();
  return theme;
}

/** The page's fixed-width font. */
export function readFont(element: HTMLElement): string {
  return (
    getComputedStyle(element).getPropertyValue("--font-mono").trim() ||
    "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
  );
}
