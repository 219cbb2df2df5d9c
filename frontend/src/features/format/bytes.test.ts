import { expect, it } from "vitest";
import { bytes } from "./bytes";

it.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [23_400_000, "23 MB"],
  [999_999, "1.0 MB"],
  [5_000_000_000, "5.0 GB"],
])("%d is %s", (count, want) => {
  expect(bytes(count)).toBe(want);
});
