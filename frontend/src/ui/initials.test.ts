import { describe, expect, it } from "vitest";
import { initials, inkOn } from "./initials";

describe("initials", () => {
  it.each([
    ["Ada Lovelace", "AL"],
    ["grace", "G"],
    ["  Jean-Luc  van Damme ", "JD"],
    ["日本 太郎", "日太"],
    ["", "?"],
    ["👩‍💻", "👩"],
  ])("%s becomes %s", (name, want) => {
    expect(initials(name)).toBe(want);
  });
});

describe("inkOn", () => {
  it("chooses the readable ink", () => {
    expect(inkOn("#ffcc00")).toBe("#000000");
    expect(inkOn("#20304a")).toBe("#ffffff");
    expect(inkOn("nonsense")).toBe("#ffffff");
  });
});
