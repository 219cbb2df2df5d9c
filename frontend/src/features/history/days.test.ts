import { expect, it } from "vitest";
import { byDay } from "./days";

const NOW = Date.parse("2026-06-15T12:00:00");
const HOUR = 3_600_000;
const session = (id: string, age: number) => ({
  id,
  from_ms: NOW - age - 1000,
  to_ms: NOW - age,
  authors: [],
  inserted: 1,
  deleted: 0,
});

it("puts sessions under their days, the newest first", () => {
  const sessions = [session("a", HOUR), session("b", 11 * HOUR), session("c", 13 * HOUR)];
  const days = byDay([...sessions, session("d", 100 * HOUR)], NOW);
  expect(days.map(({ name, sessions }) => [name, sessions.map(({ id }) => id)])).toEqual([
    ["Today", ["a", "b"]],
    ["Yesterday", ["c"]],
    ["Thursday, Jun 11", ["d"]],
  ]);
  expect(byDay([], NOW)).toEqual([]);
});
