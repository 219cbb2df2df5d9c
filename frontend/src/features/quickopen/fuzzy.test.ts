import { describe, expect, it } from "vitest";
import { fuzzyScore } from "./fuzzy";

const best = (query: string, paths: string[]) =>
  [...paths].sort((a, b) => fuzzyScore(b, query) - fuzzyScore(a, query))[0];

describe("fuzzyScore", () => {
  it("refuses what does not fit", () => {
    expect(fuzzyScore("src/main.py", "xyz")).toBe(0);
    expect(fuzzyScore("src/main.py", "niam")).toBe(0);
  });

  it.each([
    ["main", ["domain/x.txt", "src/main.py", "m/a/i/n.md"], "src/main.py"],
    ["rd", ["src/read.rs", "README.md"], "README.md"],
    ["srcmain", ["main.py", "src/main.py"], "src/main.py"],
    ["tm", ["src/timeout.ts", "src/TreeModel.ts"], "src/TreeModel.ts"],
    ["a b", ["ab.txt", "cab/x"], "ab.txt"],
  ])("%s finds %s", (query, paths, want) => {
    expect(best(query, paths)).toBe(want);
  });
});
