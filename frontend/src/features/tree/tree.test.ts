import { describe, expect, it, vi } from "vitest";
import type { TreeEntry } from "@/gen/api";
import { ROOT_FOLDER, type OpenFolder } from "@/session/contract";
import type { FolderSnapshot } from "@/session/model";
import { FolderTree } from "./folderTree";
import { nameFault, stemLength } from "./names";
import { rangeBetween, topmost, treeMove, treeRows, type Row } from "./rows";

const entry = (name: string, kind: TreeEntry["kind"] = "file"): TreeEntry => ({
  id: name,
  name,
  kind,
  size: 1,
  executable: false,
  ignored: false,
  text: true,
});

class Folders {
  readonly opened: string[] = [];
  readonly released: string[] = [];
  readonly #lists = new Map<string, FolderSnapshot>();
  readonly #listeners = new Map<string, Set<() => void>>();

  set(id: string, entries: TreeEntry[]) {
    this.#lists.set(id, { state: "ready", entries });
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }

  openFolder(folder: string): OpenFolder {
    this.opened.push(folder);
    const listeners = new Set<() => void>();
    this.#listeners.set(folder, listeners);
    return {
      folder,
      subscribe: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      getSnapshot: () => this.#lists.get(folder) ?? { state: "loading" },
      release: () => this.released.push(folder),
    };
  }
}

function sample() {
  const folders = new Folders();
  folders.set(ROOT_FOLDER, [entry("src", "folder"), entry("README.md")]);
  folders.set("src", [entry("lib", "folder"), entry("main.py")]);
  return { folders, tree: new FolderTree(folders) };
}

const drawn = (rows: Row[]) =>
  rows.map((row) => "  ".repeat(row.depth) + (row.kind === "entry" ? row.entry.name : row.kind));

describe("FolderTree", () => {
  it("subscribes to expanded folders only, and lets go of collapsed ones", () => {
    const { folders, tree } = sample();
    expect(folders.opened).toEqual([ROOT_FOLDER]);
    tree.expand("src");
    tree.expand("lib");
    expect(folders.opened).toEqual([ROOT_FOLDER, "src", "lib"]);
    tree.collapse("src");
    expect(folders.released).toEqual(["src", "lib"]);
    tree.expand("src");
    expect(folders.opened.slice(3)).toEqual(["src", "lib"]);
  });

  it("tells listeners and exchanges paths and ids", () => {
    const { folders, tree } = sample();
    const heard = vi.fn();
    tree.subscribe(heard);
    tree.expand("src");
    folders.set("src", [entry("new.py")]);
    expect(heard).toHaveBeenCalledTimes(2);
    expect(tree.getSnapshot().paths.get("new.py")).toBe("src/new.py");
    expect(tree.find("src/new.py")?.id).toBe("new.py");
    expect(tree.find("src/main.py")).toBeNull();
  });

  it("sees renames above open files without showing their folders", () => {
    const { folders, tree } = sample();
    tree.watch(["src/main.py", "README.md"]);
    expect(folders.opened).toEqual([ROOT_FOLDER, "src"]);
    expect(drawn(treeRows(tree.getSnapshot()))).toEqual(["src", "README.md"]);
    folders.set("src", [{ ...entry("main.py"), name: "start.py" }]);
    expect(tree.getSnapshot().paths.get("main.py")).toBe("src/start.py");
    folders.set(ROOT_FOLDER, [{ ...entry("src", "folder"), name: "lib" }]);
    expect(tree.getSnapshot().paths.get("main.py")).toBe("lib/start.py");
    tree.watch([]);
    expect(folders.released).toEqual(["src"]);
  });

  it("reveals a path as its folders arrive", async () => {
    const { folders, tree } = sample();
    const found = tree.reveal("src/lib/deep.py", 1000);
    await Promise.resolve();
    folders.set("lib", [entry("deep.py")]);
    expect((await found)?.id).toBe("deep.py");
    expect(await tree.reveal("src/nothing/x", 1)).toBeNull();
  });
});

describe("treeRows", () => {
  it("draws expanded folders with notes and the draft", () => {
    const { tree } = sample();
    tree.expand("src");
    tree.expand("lib");
    expect(drawn(treeRows(tree.getSnapshot(), { draftIn: "src" }))).toEqual([
      "src",
      "  draft",
      "  lib",
      "    note",
      "  main.py",
      "README.md",
    ]);
  });

  it("filters and keeps the folders above a match", () => {
    const { tree } = sample();
    tree.expand("src");
    expect(drawn(treeRows(tree.getSnapshot(), { filter: "MAIN" }))).toEqual(["src", "  main.py"]);
  });
});

describe("treeMove", () => {
  const { tree } = sample();
  tree.expand("src");
  const rows = treeRows(tree.getSnapshot());
  it.each([
    [null, "ArrowDown", { do: "focus", file: "src" }],
    ["src", "ArrowDown", { do: "focus", file: "lib" }],
    ["src", "ArrowRight", { do: "focus", file: "lib" }],
    ["src", "ArrowLeft", { do: "collapse", file: "src" }],
    ["lib", "ArrowRight", { do: "expand", file: "lib" }],
    ["main.py", "ArrowLeft", { do: "focus", file: "src" }],
    ["main.py", "ArrowRight", null],
    ["README.md", "ArrowDown", null],
    ["README.md", "Home", { do: "focus", file: "src" }],
    ["src", "End", { do: "focus", file: "README.md" }],
  ])("from %s, %s", (focused, key, want) => {
    expect(treeMove(rows, focused, key)).toEqual(want);
  });
  it("selects ranges in both directions", () => {
    expect(rangeBetween(rows, "main.py", "src")).toEqual(["src", "lib", "main.py"]);
  });
});

it("finds faults in names", () => {
  expect(nameFault("", [])).toBe("empty");
  expect(nameFault("a//b", [])).toBe("slash");
  expect(nameFault("../x", [])).toBe("slash");
  expect(nameFault("a\u202eb", [])).toBe("control");
  expect(nameFault("x".repeat(256), [])).toBe("long");
  expect(nameFault("main.py", ["main.py"])).toBe("taken");
  expect(nameFault("a/b/c.txt", ["a"])).toBeNull();
});

it("knows what renaming selects and what lies under what", () => {
  expect(stemLength("main.py")).toBe(4);
  expect(stemLength(".env")).toBe(4);
  expect(topmost(["src", "src/a", "srcs/b", "x"])).toEqual(["src", "srcs/b", "x"]);
});
