/** Sessions under the days they ended on. */
import type { HistorySession } from "@/gen/api";
import { dayName } from "@/features/format/time";

export interface Day {
  name: string;
  sessions: HistorySession[];
}

export function byDay(sessions: readonly HistorySession[], now: number): Day[] {
  const days: Day[] = [];
  for (const session of sessions) {
    const name = dayName(session.to_ms, now);
    const last = days.at(-1);
    if (last?.name === name) last.sessions.push(session);
    else days.push({ name, sessions: [session] });
  }
  return days;
}
