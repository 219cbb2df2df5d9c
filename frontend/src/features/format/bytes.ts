const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A size in the fewest digits that tell sizes apart: `0 B`, `1.4 kB`, `23 MB`. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}
