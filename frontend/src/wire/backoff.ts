/** Attempts that are made in quick succession: a restarted server is back within these. */
const EAGER = 10;

/** How long to wait before the next attempt: doubling from 300 ms to 4 s, later 15 s, half of it
 *  random, so that a class of thirty pages does not come back in one instant. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(attempt < EAGER ? 4_000 : 15_000, 300 * 2 ** Math.min(attempt, 10));
  return full / 2 + (full / 2) * random();
}
