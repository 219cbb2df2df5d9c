/** Languages by file name, each loaded when the first such file is opened. */
import { type LanguageSupport, StreamLanguage, type StreamParser } from "@codemirror/language";
import type { Extension } from "@codemirror/state";

export interface EditorLanguage {
  /** Shown to people. */
  name: string;
  /** What a new file is indented by. */
  indent: string;
  load: () => Promise<Extension>;
}

const legacy = (parser: StreamParser<unknown>): Extension => StreamLanguage.define(parser);
const two = "  ";
const four = "    ";

const script =
  (options: { jsx?: boolean; typescript?: boolean }) => async (): Promise<LanguageSupport> =>
    (await import("@codemirror/lang-javascript")).javascript(options);

// prettier-ignore
const languages = {
  python: { name: "Python", indent: four, load: async () => (await import("@codemirror/lang-python")).python() },
  javascript: { name: "JavaScript", indent: two, load: script({ jsx: true }) },
  typescript: { name: "TypeScript", indent: two, load: script({ typescript: true }) },
  tsx: { name: "TypeScript", indent: two, load: script({ typescript: true, jsx: true }) },
  go: { name: "Go", indent: "\t", load: async () => (await import("@codemirror/lang-go")).go() },
  rust: { name: "Rust", indent: four, load: async () => (await import("@codemirror/lang-rust")).rust() },
  c: { name: "C", indent: four, load: async () => (await import("@codemirror/lang-cpp")).cpp() },
  cpp: { name: "C++", indent: four, load: async () => (await import("@codemirror/lang-cpp")).cpp() },
  java: { name: "Java", indent: four, load: async () => (await import("@codemirror/lang-java")).java() },
  html: { name: "HTML", indent: two, load: async () => (await import("@codemirror/lang-html")).html() },
  css: { name: "CSS", indent: two, load: async () => (await import("@codemirror/lang-css")).css() },
  json: { name: "JSON", indent: two, load: async () => (await import("@codemirror/lang-json")).json() },
  markdown: { name: "Markdown", indent: two, load: async () => (await import("@codemirror/lang-markdown")).markdown() },
  yaml: { name: "YAML", indent: two, load: async () => (await import("@codemirror/lang-yaml")).yaml() },
  sql: { name: "SQL", indent: two, load: async () => (await import("@codemirror/lang-sql")).sql() },
  xml: { name: "XML", indent: two, load: async () => (await import("@codemirror/lang-xml")).xml() },
  shell: { name: "Shell", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/shell")).shell) },
  toml: { name: "TOML", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/toml")).toml) },
  ini: { name: "INI", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/properties")).properties) },
  dockerfile: { name: "Dockerfile", indent: four, load: async () => legacy((await import("@codemirror/legacy-modes/mode/dockerfile")).dockerFile) },
  ruby: { name: "Ruby", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/ruby")).ruby) },
  lua: { name: "Lua", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/lua")).lua) },
  diff: { name: "Diff", indent: two, load: async () => legacy((await import("@codemirror/legacy-modes/mode/diff")).diff) },
  makefile: { name: "Makefile", indent: "\t", load: async () => legacy((await import("@codemirror/legacy-modes/mode/shell")).shell) },
} satisfies Record<string, EditorLanguage>;

type Key = keyof typeof languages;

// prettier-ignore
const byExtension: Record<string, Key> = {
  py: "python", pyi: "python", pyw: "python",
  js: "javascript", mjs: "javascript", cjs: "javascript", jsx: "javascript",
  ts: "typescript", mts: "typescript", cts: "typescript", tsx: "tsx",
  go: "go", rs: "rust", java: "java",
  c: "c", h: "c",
  cc: "cpp", cpp: "cpp", cxx: "cpp", hh: "cpp", hpp: "cpp", hxx: "cpp", ino: "cpp",
  html: "html", htm: "html", vue: "html", svelte: "html",
  css: "css", scss: "css", less: "css",
  json: "json", jsonc: "json", webmanifest: "json",
  md: "markdown", markdown: "markdown",
  yml: "yaml", yaml: "yaml",
  sql: "sql", xml: "xml", svg: "xml",
  sh: "shell", bash: "shell", zsh: "shell",
  toml: "toml", ini: "ini", cfg: "ini", conf: "ini", properties: "ini", env: "ini",
  rb: "ruby", lua: "lua", diff: "diff", patch: "diff", mk: "makefile",
};

// prettier-ignore
const byName: Record<string, Key> = {
  dockerfile: "dockerfile", containerfile: "dockerfile",
  makefile: "makefile", gnumakefile: "makefile",
  ".bashrc": "shell", ".profile": "shell", ".bash_profile": "shell",
  ".env": "ini", ".gitconfig": "ini", ".editorconfig": "ini",
  ".replit": "toml", "cargo.lock": "toml", "go.mod": "go", gemfile: "ruby",
};

/** The language of a file; null for plain text. */
export function languageOf(path: string): EditorLanguage | null {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const dot = name.lastIndexOf(".");
  const key = byName[name] ?? (dot >= 0 ? byExtension[name.slice(dot + 1)] : undefined);
  return key ? languages[key] : null;
}
