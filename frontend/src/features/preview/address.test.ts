import { describe, expect, it } from "vitest";
import { afterLoad, FRESH_HISTORY, pathOf, previewAddress } from "./address";

describe("previewAddress", () => {
  const base = "http://3000-abc.localhost:8080/";
  it.each([
    ["", "http://3000-abc.localhost:8080/"],
    ["/", "http://3000-abc.localhost:8080/"],
    ["users?id=1#top", "http://3000-abc.localhost:8080/users?id=1#top"],
    ["//evil.example/x", "http://3000-abc.localhost:8080/evil.example/x"],
    ["javascript:alert(1)", "http://3000-abc.localhost:8080/javascript:alert(1)"],
    ["@evil.example", "http://3000-abc.localhost:8080/@evil.example"],
  ])("%j stays on the preview's origin", (path, want) => {
    expect(previewAddress(base, path)).toBe(want);
  });
});

describe("afterLoad", () => {
  it("counts the page's own moves and follows back and forward", () => {
    const first = afterLoad(FRESH_HISTORY);
    expect([first.at, pathOf(first), first.expected]).toEqual([0, "/", null]);
    const gone = afterLoad({ ...first, expected: { move: "to", path: "/users" } });
    expect([gone.at, pathOf(gone)]).toEqual([1, "/users"]);
    const clicked = afterLoad(gone);
    expect([clicked.at, pathOf(clicked)]).toEqual([2, null]);
    const back = afterLoad({ ...clicked, expected: { move: "by", step: -1 } });
    expect([back.at, pathOf(back), back.entries.length]).toEqual([1, "/users", 3]);
    expect(afterLoad({ ...back, expected: { move: "by", step: 1 } }).at).toBe(2);
    expect(afterLoad(back).entries).toEqual(["/", "/users", null]);
    expect(afterLoad({ ...clicked, expected: { move: "none" } })).toEqual(clicked);
  });
});
