const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** When something was, seen from `now`, in the fewest words: `just now`, `5m ago`, `Feb 3`. */
export function relativeTime(thenMs: number, nowMs: number, locale = "en"): string {
  const age = nowMs - thenMs;
  if (age < 45_000) return "just now";
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "narrow" });
  if (age < 45 * MINUTE) return relative.format(-Math.round(age / MINUTE), "minute");
  if (age < 22 * HOUR) return relative.format(-Math.max(1, Math.round(age / HOUR)), "hour");
  if (age < 6.5 * DAY) return relative.format(-Math.max(1, Math.round(age / DAY)), "day");
  const sameYear = new Date(thenMs).getFullYear() === new Date(nowMs).getFullYear();
  return new Intl.DateTimeFormat(locale, {
    day: "numeric",
    month: "short",
    ...(!sameYear && { year: "numeric" }),
  }).format(thenMs);
}

/** The time of day: `14:03`. */
export function clock(ms: number, locale = "en"): string {
  return new Intl.DateTimeFormat(locale, {
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
  }).format(ms);
}

/** A day as people name it: `Today`, `Yesterday`, `Monday, Nov 23`, `Nov 23, 2025`. */
export function dayName(thenMs: number, nowMs: number, locale = "en"): string {
  const [then, now] = [new Date(thenMs), new Date(nowMs)];
  const midnight = (date: Date) => new Date(date).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(now) - midnight(then)) / DAY);
  if (days === 0 || days === 1) {
    const word = new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-days, "day");
    return word.charAt(0).toUpperCase() + word.slice(1);
  }
  const sameYear = then.getFullYear() === now.getFullYear();
  return new Intl.DateTimeFormat(locale, {
    ...(sameYear ? { weekday: "long" } : { year: "numeric" }),
    day: "numeric",
    month: "short",
  }).format(thenMs);
}

/** A moment: `Today, 14:03`. */
export function moment(thenMs: number, nowMs: number, locale = "en"): string {
  return `${dayName(thenMs, nowMs, locale)}, ${clock(thenMs, locale)}`;
}

/** How long something took: `82 ms`, `1.4 s`, `2 min 05 s`, `1 h 02 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(ms / MINUTE);
  if (minutes < 60) return `${minutes} min ${two(Math.floor((ms % MINUTE) / 1000))} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}
