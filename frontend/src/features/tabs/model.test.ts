import { describe, expect, it } from "vitest";
import {
  activateTab,
  activeTab,
  closeTabs,
  cycleTab,
  EMPTY_TABS,
  moveTab,
  openTab,
  pinTab,
  renameTabs,
  reopenTab,
  splitTabs,
  tabHints,
  type TabsState,
} from "./model";

const open = (state: TabsState, path: string, preview = false) =>
  openTab(state, { file: path, path, kind: "text", preview });
const opened = (...paths: string[]) => paths.reduce((state, path) => open(state, path), EMPTY_TABS);
const names = (state: TabsState, group = 0) =>
  state.groups[group]?.tabs.map((tab) => tab.path).join(" ");

describe("opening", () => {
  it("puts a new tab after the active one", () => {
    const state = activateTab(opened("a", "b", "c"), 0, "a");
    expect(names(open(state, "d"))).toBe("a d b c");
  });

  it("replaces the preview tab, and keeps a pinned one", () => {
    const state = open(opened("a"), "p", true);
    expect(names(open(state, "q", true))).toBe("a q");
    expect(names(open(pinTab(state, "p"), "q", true))).toBe("a p q");
  });

  it("brings an open file to the front, and opening it for good pins it", () => {
    const state = open(open(opened("a"), "p", true), "a");
    expect(activeTab(state)?.path).toBe("a");
    expect(activeTab(open(state, "p"))).toMatchObject({ path: "p", preview: false });
  });
});

describe("closing", () => {
  it("goes back to the file that was in front before", () => {
    const state = activateTab(opened("a", "b", "c"), 0, "a");
    expect(activeTab(closeTabs(state, 0, ["a"]))?.path).toBe("c");
  });

  it("leaves the active tab alone when another is closed", () => {
    expect(activeTab(closeTabs(opened("a", "b", "c"), 0, ["a"]))?.path).toBe("c");
  });

  it("reopens where the tab was, newest first", () => {
    const state = closeTabs(closeTabs(opened("a", "b", "c"), 0, ["a"]), 0, ["b"]);
    const once = reopenTab(state);
    expect(names(once)).toBe("b c");
    expect(activeTab(once)?.path).toBe("b");
    expect(names(reopenTab(once))).toBe("a b c");
  });

  it("does not reopen what is open", () => {
    const state = open(closeTabs(opened("a", "b"), 0, ["a"]), "a");
    expect(names(reopenTab(state))).toBe("b a");
  });
});

describe("two sides", () => {
  it("splits, moves the focus, and ends with its last tab", () => {
    const split = splitTabs(opened("a", "b"));
    expect([names(split), names(split, 1), split.focused]).toEqual(["a b", "b", 1]);
    expect(splitTabs(split).focused).toBe(0);
    expect(closeTabs(split, 1, ["b"]).groups).toHaveLength(1);
  });

  it("moves a tab within a side and over to the other", () => {
    const state = opened("a", "b", "c");
    expect(names(moveTab(state, 0, "a", { group: 0, index: 3 }))).toBe("b c a");
    expect(names(moveTab(state, 0, "c", { group: 0, index: 0 }))).toBe("c a b");
    expect(moveTab(state, 0, "b", { group: 0, index: 2 })).toBe(state);
    const over = moveTab(splitTabs(state), 0, "a", { group: 1, index: 0 });
    expect([names(over), names(over, 1), activeTab(over)?.path]).toEqual(["b c", "a c", "a"]);
  });
});

it("cycles around", () => {
  const state = opened("a", "b", "c");
  expect(activeTab(cycleTab(state, 1))?.path).toBe("a");
  expect(activeTab(cycleTab(state, -1))?.path).toBe("b");
});

it("follows renames and leaves an unchanged state alone", () => {
  const state = opened("a", "b");
  expect(names(renameTabs(state, new Map([["a", "src/a"]])))).toBe("src/a b");
  expect(renameTabs(state, new Map([["a", "a"]]))).toBe(state);
});

it("tells tabs of the same name apart by their folder", () => {
  const state = opened("x/mod.rs", "y/mod.rs", "main.rs", "mod.rs");
  expect([...tabHints(state.groups[0]?.tabs ?? [])]).toEqual([
    ["x/mod.rs", "x"],
    ["y/mod.rs", "y"],
    ["mod.rs", "/"],
  ]);
});
