export type PartOfDay = "morning" | "afternoon" | "evening";

export function partOfDay(hour: number): PartOfDay {
  if (hour < 12) return "morning";
  return hour < 18 ? "afternoon" : "evening";
}

/** A greeting that fits the hour of the day. */
export function greeting(name: string, now: Date): string {
  return `Good ${partOfDay(now.getHours())}, ${name}!`;
}
