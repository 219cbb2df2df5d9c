/** The path part that people see and edit, joined to a port's own address. */
export function previewAddress(base: string, path: string): string {
  const cleaned = path.trim().replace(/^\/*/, "/");
  // Resolving against the base keeps whatever is typed on the preview's own origin.
  const address = new URL(base);
  const joined = new URL(`${address.origin}${cleaned}`);
  return joined.origin === address.origin ? joined.href : address.href;
}

/** Where the frame has been. The page in it is of another origin, so its own moves are only
 *  counted: each finished load that nobody here asked for is one step to an unknown place. */
export interface FrameHistory {
  /** Paths, null where the page went by itself. */
  entries: readonly (string | null)[];
  at: number;
  /** What the next load will be. */
  expected: { move: "to"; path: string } | { move: "by"; step: -1 | 1 } | { move: "none" } | null;
}

export const FRESH_HISTORY: FrameHistory = { entries: ["/"], at: 0, expected: { move: "none" } };

export function afterLoad(history: FrameHistory): FrameHistory {
  const { entries, at, expected } = history;
  switch (expected?.move) {
    case "none":
      return { ...history, expected: null };
    case "by":
      return {
        entries,
        at: Math.min(entries.length - 1, Math.max(0, at + expected.step)),
        expected: null,
      };
    case "to":
    case undefined: {
      const path = expected === null ? null : expected.path;
      return { entries: [...entries.slice(0, at + 1), path], at: at + 1, expected: null };
    }
  }
}

/** The path in front; null when only the page knows. */
export function pathOf({ entries, at }: FrameHistory): string | null {
  return entries[at] ?? null;
}
