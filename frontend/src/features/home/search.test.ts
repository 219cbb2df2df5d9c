import { expect, it } from "vitest";
import { matches } from "./search";

it.each([
  ["", true],
  ["  ", true],
  ["weather", true],
  ["PY weath", true],
  ["weather rust", false],
])("%j matches: %s", (query, want) => {
  expect(matches(query, "Weather station", "python")).toBe(want);
});
