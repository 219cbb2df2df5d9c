import { describe, expect, it } from "vitest";
import { afterLoad, FRESH_HISTORY, previewAddress } from "./address";

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
    expect(first).toEqual({ at: 0, length: 1, expected: null });
    const clicked = afterLoad(first);
    expect(clicked).toEqual({ at: 1, length: 2, expected: null });
    const back = afterLoad({ ...clicked, expected: "back" });
    expect(back).toEqual({ at: 0, length: 2, expected: null });
    expect(afterLoad({ ...back, expected: "forward" }).at).toBe(1);
    expect(afterLoad(back)).toEqual({ at: 1, length: 2, expected: null });
    expect(afterLoad({ ...clicked, expected: "reload" })).toEqual({ ...clicked, expected: null });
  });
});
