import { describe, expect, it } from "vitest";
import css from "./theme.css?raw";

function tokens(selector: string): Map<string, string> {
  const start = css.indexOf(selector);
  const block = css.slice(css.indexOf("{", start) + 1, css.indexOf("}", start));
  const found = new Map<string, string>();
  for (const match of block.matchAll(/(--[\w-]+):\s*(#[0-9a-f]{6})\b;/g)) {
    if (match[1] !== undefined && match[2] !== undefined) found.set(match[1], match[2]);
  }
  return found;
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

const surfaces = ["--bg-app", "--bg-surface", "--bg-editor", "--bg-raised"];
const texts = ["--text", "--text-muted", "--text-faint", "--accent", "--ok", "--warn", "--danger"];
const solids = ["--accent-solid", "--ok-solid", "--danger-solid"];
const code = ["keyword", "string", "number", "comment", "function", "type", "property", "tag"];

describe.each([
  ["dark", ':root[data-theme="dark"]'],
  ["light", ':root[data-theme="light"]'],
])("%s theme", (_name, selector) => {
  const found = tokens(selector);
  const value = (name: string) => {
    const hex = found.get(name);
    if (hex === undefined) throw new Error(`${name} is not in ${selector}`);
    return hex;
  };

  it("has readable text on every surface", () => {
    const weak = surfaces.flatMap((surface) =>
      texts
        .map((text) => ({ text, surface, ratio: contrast(value(text), value(surface)) }))
        .filter(({ ratio }) => ratio < 4.5),
    );
    expect(weak).toEqual([]);
  });

  it("has readable text on solid buttons", () => {
    const weak = solids.filter((solid) => contrast(value("--text-on-solid"), value(solid)) < 4.5);
    expect(weak).toEqual([]);
  });

  it("has readable code", () => {
    const weak = code.filter(
      (name) => contrast(value(`--code-${name}`), value("--bg-editor")) < 4.5,
    );
    expect(weak).toEqual([]);
  });
});
