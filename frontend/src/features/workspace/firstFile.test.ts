import { expect, it } from "vitest";
import type { TreeEntry } from "@/gen/api";
import { firstFile, readme, sourceFolder } from "./firstFile";

const entry = (name: string): TreeEntry => ({
  id: name,
  name: name.replace(/\/$/, ""),
  kind: name.endsWith("/") ? "folder" : "file",
  size: 1,
  executable: false,
  ignored: false,
  text: true,
});
const list = (...names: string[]) => names.map(entry);

it.each([
  [["Makefile", "main.c", "greeting.c"], "main.c"],
  [["index.css", "index.html", "index.js"], "index.html"],
  [["server.py", "main.py", "test_main.py"], "main.py"],
  [["main.h", "main.cpp"], "main.cpp"],
  [["Main.java", "README.md"], "Main.java"],
  [["package.json", "README.md"], undefined],
])("of %j it opens %s", (names, want) => {
  expect(firstFile(list(...names))?.name).toBe(want);
});

it("knows where else to look", () => {
  expect(sourceFolder(list("tests/", "src/"))?.name).toBe("src");
  expect(sourceFolder(list("a.txt"))).toBeNull();
  expect(readme(list("a.txt", "README.md"))?.name).toBe("README.md");
});
