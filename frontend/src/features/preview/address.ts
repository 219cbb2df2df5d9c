/** The path part that people see and edit, joined to a port's own address. */
export function previewAddress(base: string, path: string): string {
  const cleaned = path.trim().replace(/^\/*/, "/");
  // Resolving against the base keeps whatever is typed on the preview's own origin.
  const address = new URL(base);
  const joined = new URL(`${address.origin}${cleaned}`);
  return joined.origin === address.origin ? joined.href : address.href;
}

/** Where the frame has been. The page in it is of another origin, so its own moves are only
 *  counted: each finished load that nobody here asked for is one step forward. */
export interface FrameHistory {
  at: number;
  length: number;
  /** What the next load will be. */
  expected: "push" | "back" | "forward" | "reload" | null;
}

export const FRESH_HISTORY: FrameHistory = { at: 0, length: 1, expected: "reload" };

export function afterLoad(history: FrameHistory): FrameHistory {
  switch (history.expected) {
    case "reload":
      return { ...history, expected: null };
    case "back":
      return { ...history, at: Math.max(0, history.at - 1), expected: null };
    case "forward":
      return { ...history, at: Math.min(history.length - 1, history.at + 1), expected: null };
    case "push":
    case null:
      return { at: history.at + 1, length: history.at + 2, expected: null };
  }
}
