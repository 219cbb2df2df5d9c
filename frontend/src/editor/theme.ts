/**
 * The editor's look from CSS variables, so that the page's theme decides. Every variable has a
 * default for both colour schemes.
 */
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const shade = (name: string, light: string, dark: string) =>
  `var(--code-${name}, light-dark(${light}, ${dark}))`;

const highlight = HighlightStyle.define([
  {
    tag: [tags.keyword, tags.modifier, tags.operatorKeyword, tags.controlKeyword],
    color: shade("keyword", "#8a2fb3", "#c792ea"),
  },
  {
    tag: [tags.string, tags.special(tags.string), tags.character, tags.regexp],
    color: shade("string", "#1f7a3d", "#a5d6a0"),
  },
  {
    tag: [tags.comment, tags.meta],
    color: shade("comment", "#6a7280", "#8b94a6"),
    fontStyle: "italic",
  },
  {
    tag: [tags.number, tags.bool, tags.null, tags.atom],
    color: shade("number", "#a14a00", "#f5b07a"),
  },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.labelName],
    color: shade("function", "#1d5fbf", "#82aaff"),
  },
  {
    tag: [tags.typeName, tags.className, tags.namespace, tags.macroName],
    color: shade("type", "#0f6c7d", "#7fd1de"),
  },
  { tag: [tags.propertyName, tags.attributeName], color: shade("property", "#7a4a00", "#e6c384") },
  { tag: [tags.tagName, tags.angleBracket], color: shade("tag", "#b3261e", "#f28b82") },
  {
    tag: [tags.definition(tags.variableName), tags.self],
    color: shade("variable", "#24292f", "#d7dce5"),
  },
  {
    tag: [tags.operator, tags.punctuation, tags.separator],
    color: shade("operator", "#4b5563", "#a9b2c3"),
  },
  { tag: tags.heading, color: shade("heading", "#1d5fbf", "#82aaff"), fontWeight: "600" },
  { tag: tags.strong, fontWeight: "600" },
  { tag: tags.emphasis, fontStyle: "italic" },
  {
    tag: [tags.link, tags.url],
    color: shade("link", "#1d5fbf", "#82aaff"),
    textDecoration: "underline",
  },
  { tag: tags.inserted, color: shade("inserted", "#1f7a3d", "#a5d6a0") },
  { tag: [tags.deleted, tags.invalid], color: shade("deleted", "#b3261e", "#f28b82") },
]);

const look = EditorView.theme({
  "&": {
    height: "100%",
    backgroundColor: shade("background", "#ffffff", "#14171d"),
    color: shade("text", "#24292f", "#d7dce5"),
    fontSize: "var(--editor-font-size, 14px)",
  },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": {
    fontFamily: "var(--font-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, monospace)",
    lineHeight: "var(--editor-line-height, 1.55)",
  },
  ".cm-content": { caretColor: shade("caret", "#1d5fbf", "#82aaff"), paddingBlock: "8px" },
  ".cm-cursor, .cm-dropCursor": {
    borderLeftColor: shade("caret", "#1d5fbf", "#82aaff"),
    borderLeftWidth: "2px",
  },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    {
      background: shade("selection", "#cfe1ff", "#2d4468"),
    },
  ".cm-gutters": {
    backgroundColor: shade("gutter", "#ffffff", "#14171d"),
    color: shade("line-number", "#6e7781", "#7d8799"),
    border: "none",
  },
  ".cm-blame": {
    maxWidth: "26ch",
    overflow: "hidden",
    fontFamily: "var(--font-sans, system-ui, sans-serif)",
    fontSize: "11px",
  },
  ".cm-blame-mark": {
    display: "flex",
    gap: "8px",
    height: "100%",
    padding: "0 10px 0 8px",
    borderLeft: "3px solid var(--author)",
    lineHeight: "inherit",
    cursor: "default",
    whiteSpace: "nowrap",
  },
  ".cm-blame-name": { flex: "1", overflow: "hidden", textOverflow: "ellipsis", maxWidth: "14ch" },
  ".cm-blame-age": { opacity: "0.8" },
  "@media (max-width: 640px)": {
    ".cm-blame": { maxWidth: "10ch" },
    ".cm-blame-age": { display: "none" },
  },
  ".cm-activeLine": { backgroundColor: shade("active-line", "#0000000a", "#ffffff0a") },
  ".cm-activeLineGutter": {
    backgroundColor: shade("active-line", "#0000000a", "#ffffff0a"),
    color: shade("text", "#24292f", "#d7dce5"),
  },
  "&.cm-focused .cm-matchingBracket": {
    backgroundColor: shade("bracket", "#1d5fbf26", "#82aaff33"),
    outline: `1px solid ${shade("bracket-outline", "#1d5fbf66", "#82aaff66")}`,
  },
  ".cm-searchMatch": { backgroundColor: shade("match", "#ffe58f", "#6b5a1e") },
  ".cm-searchMatch-selected": { backgroundColor: shade("match-selected", "#ffc53d", "#a07d12") },
  ".cm-selectionMatch": { backgroundColor: shade("selection-match", "#1d5fbf1f", "#82aaff24") },
  ".cm-panels": {
    backgroundColor: "var(--surface, light-dark(#f6f7f9, #1b1f27))",
    color: "inherit",
    borderColor: "var(--border, light-dark(#d9dde3, #2c323d))",
  },
  ".cm-panels.cm-panels-top": {
    borderBottom: "1px solid var(--border, light-dark(#d9dde3, #2c323d))",
  },
  ".cm-panel.cm-search": {
    padding: "8px 10px",
    fontFamily: "var(--font-sans, system-ui, sans-serif)",
  },
  ".cm-panel.cm-search label": { fontSize: "12px" },
  ".cm-textfield": {
    backgroundColor: "var(--field, light-dark(#ffffff, #10131a))",
    border: "1px solid var(--border, light-dark(#c4cad3, #3a4250))",
    borderRadius: "5px",
    color: "inherit",
    padding: "3px 7px",
  },
  ".cm-button": {
    backgroundImage: "none",
    backgroundColor: "var(--surface-raised, light-dark(#ffffff, #262c37))",
    border: "1px solid var(--border, light-dark(#c4cad3, #3a4250))",
    borderRadius: "5px",
    color: "inherit",
  },
  ".cm-tooltip": {
    backgroundColor: "var(--surface-raised, light-dark(#ffffff, #20252e))",
    border: "1px solid var(--border, light-dark(#d9dde3, #2c323d))",
    borderRadius: "6px",
    color: "inherit",
    overflow: "hidden",
  },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": {
    background: "var(--accent-soft, light-dark(#dbe8ff, #2d4468))",
    color: "inherit",
  },
  ".cm-foldPlaceholder": {
    background: "transparent",
    border: "none",
    color: "inherit",
    opacity: "0.7",
  },
  ".cm-peer-selection": { backgroundColor: "color-mix(in srgb, var(--peer) 28%, transparent)" },
  ".cm-peer-caret": {
    position: "relative",
    borderLeft: "2px solid var(--peer)",
    marginLeft: "-1px",
    marginRight: "-1px",
    boxSizing: "border-box",
  },
  ".cm-peer-name": {
    position: "absolute",
    top: "-1.35em",
    left: "-2px",
    padding: "0 5px",
    borderRadius: "4px 4px 4px 0",
    backgroundColor: "var(--peer)",
    color: "#fff",
    textShadow: "0 0 2px #000a",
    fontFamily: "var(--font-sans, system-ui, sans-serif)",
    fontSize: "11px",
    fontWeight: "600",
    lineHeight: "1.4",
    whiteSpace: "nowrap",
    pointerEvents: "none",
    userSelect: "none",
    zIndex: "5",
    opacity: "0",
    animation: "cm-peer-name 2.2s ease-out",
  },
  ".cm-peer-caret:hover .cm-peer-name": { opacity: "1", animation: "none" },
  // On the first line there is no room above.
  ".cm-line:first-child .cm-peer-name": { top: "1.5em", borderRadius: "0 4px 4px 4px" },
  "@keyframes cm-peer-name": { "0%, 75%": { opacity: "1" }, "100%": { opacity: "0" } },
});

export const editorTheme: Extension = [look, syntaxHighlighting(highlight)];
