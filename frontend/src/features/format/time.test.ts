import { describe, expect, it } from "vitest";
import { clock, dayName, duration, moment, relativeTime } from "./time";

const NOW = Date.parse("2026-06-15T12:00:00");
const MINUTE = 60_000;

describe("relativeTime", () => {
  it.each([
    [0, "just now"],
    [-5 * MINUTE, "just now"],
    [44_000, "just now"],
    [60_000, "1m ago"],
    [44 * MINUTE, "44m ago"],
    [50 * MINUTE, "1h ago"],
    [21 * 60 * MINUTE, "21h ago"],
    [24 * 60 * MINUTE, "yesterday"],
    [5 * 24 * 60 * MINUTE, "5d ago"],
    [30 * 24 * 60 * MINUTE, "May 16"],
    [365 * 24 * 60 * MINUTE, "Jun 15, 2025"],
  ])("%d ms ago is %s", (age, want) => {
    expect(relativeTime(NOW - age, NOW)).toBe(want);
  });
});

describe("moments", () => {
  it.each([
    [0, "Today, 12:00"],
    [11 * 60 * MINUTE, "Today, 01:00"],
    [13 * 60 * MINUTE, "Yesterday, 23:00"],
    [3 * 24 * 60 * MINUTE, "Friday, Jun 12, 12:00"],
    [365 * 24 * 60 * MINUTE, "Jun 15, 2025, 12:00"],
  ])("%d ms ago is %s", (age, want) => {
    expect(moment(NOW - age, NOW)).toBe(want);
  });

  it("use the day of the place, and 24 hours", () => {
    expect(clock(Date.parse("2026-06-15T00:05:00"))).toMatch(/^(00|24):05$/);
    expect(dayName(Date.parse("2026-06-14T23:59:59"), Date.parse("2026-06-15T00:00:01"))).toBe(
      "Yesterday",
    );
  });
});

describe("duration", () => {
  it.each([
    [82.4, "82 ms"],
    [1400, "1.4 s"],
    [42_300, "42 s"],
    [125_000, "2 min 05 s"],
    [3_725_000, "1 h 02 min"],
  ])("%d is %s", (ms, want) => {
    expect(duration(ms)).toBe(want);
  });
});
