/** A greeting that fits the hour of the day. */
export function greeting(name, hour) {
  const part = hour < 12 ? "morning" : hour < 18 ? "afternoon" : "evening";
  return `Good ${part}, ${name}!`;
}
