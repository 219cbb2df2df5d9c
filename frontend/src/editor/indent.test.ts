import { Text } from "@codemirror/state";
import { describe, expect, it } from "vitest";
import { detectIndent } from "./indent";
import { languageOf } from "./languages";

const detect = (text: string) => detectIndent(Text.of(text.split("\n")));

describe("indentation", () => {
  it.each([
    ["def f():\n    if x:\n        return 1\n", { unit: "space", size: 4 }],
    ["a:\n  b:\n    c: 1\n  d: 2\n", { unit: "space", size: 2 }],
    ["func f() {\n\tif x {\n\t\treturn\n\t}\n}\n", { unit: "tab", size: 4 }],
    [
      "/*\n * a comment\n * more\n */\nint main() {\n    return 0;\n}\n",
      { unit: "space", size: 4 },
    ],
    ["no indent\nat all\n", null],
    ["", null],
  ])("of %j", (text, expected) => expect(detect(text)).toEqual(expected));
});

describe("languages", () => {
  it.each([
    ["src/main.py", "Python"],
    ["Makefile", "Makefile"],
    ["a/b/Cargo.toml", "TOML"],
    [".bashrc", "Shell"],
    ["x.HPP", "C++"],
    ["constructor", null],
    ["x.toString", null],
    ["LICENSE", null],
  ])("of %s", (path, expected) => expect(languageOf(path)?.name ?? null).toBe(expected));

  it("load", async () => {
    const paths =
      "a.py a.js a.ts a.tsx a.go a.rs a.c a.cpp a.java a.html a.css a.json a.md a.yaml a.sql a.xml a.sh a.toml a.ini Dockerfile a.rb a.lua a.diff Makefile";
    for (const path of paths.split(" ")) {
      await expect(languageOf(path)?.load(), path).resolves.toBeDefined();
    }
  });
});
