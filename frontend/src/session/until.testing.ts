import { vi } from "vitest";

/** Waits for a condition; the limit only matters when it never holds. */
export const until = <T>(condition: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(condition, { timeout: 15_000, interval: 10 });
