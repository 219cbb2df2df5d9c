/** How languages look: a short sign and a colour that reads on dark and light. */
interface LanguageLook {
  sign: string;
  hue: number;
}

const looks: Record<string, LanguageLook> = {
  python: { sign: "Py", hue: 215 },
  javascript: { sign: "JS", hue: 46 },
  nodejs: { sign: "JS", hue: 130 },
  node: { sign: "JS", hue: 130 },
  typescript: { sign: "TS", hue: 211 },
  go: { sign: "Go", hue: 190 },
  rust: { sign: "Rs", hue: 20 },
  c: { sign: "C", hue: 225 },
  cpp: { sign: "C++", hue: 330 },
  java: { sign: "Jv", hue: 8 },
  bash: { sign: "$_", hue: 95 },
  shell: { sign: "$_", hue: 95 },
  html: { sign: "</>", hue: 14 },
  static: { sign: "</>", hue: 14 },
};

/** The look of a template's language key. */
export function lookOf(language: string): LanguageLook {
  return looks[language] ?? { sign: language.slice(0, 2) || "?", hue: 260 };
}

const byExtension: Record<string, string> = {
  py: "python",
  js: "javascript",
  mjs: "javascript",
  cjs: "javascript",
  jsx: "javascript",
  ts: "typescript",
  tsx: "typescript",
  go: "go",
  rs: "rust",
  c: "c",
  h: "c",
  cc: "cpp",
  cpp: "cpp",
  hpp: "cpp",
  java: "java",
  sh: "bash",
  bash: "bash",
  html: "html",
  css: "css",
};

export type FileKind = "code" | "data" | "text" | "image" | "archive" | "config" | "plain";

const kinds: [RegExp, FileKind][] = [
  [/\.(png|jpe?g|gif|webp|avif|bmp|ico|svg)$/i, "image"],
  [/\.(zip|tar|gz|tgz|xz|zst|7z|jar)$/i, "archive"],
  [/\.(json|csv|tsv|sql|xml|ya?ml)$/i, "data"],
  [/\.(md|markdown|rst|txt|adoc)$/i, "text"],
  [/(\.(toml|ini|cfg|conf|env|lock)$|^\.|^(makefile|dockerfile)$)/i, "config"],
];

/** What kind of thing a file name stands for, and its hue when it is code. */
export function fileLook(name: string): { kind: FileKind; hue: number | null } {
  const extension = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? "";
  const language = byExtension[extension];
  if (language !== undefined) {
    return { kind: "code", hue: language === "css" ? 265 : lookOf(language).hue };
  }
  return { kind: kinds.find(([pattern]) => pattern.test(name))?.[1] ?? "plain", hue: null };
}

/** Whether the browser can show the file as a picture. */
export function isImage(path: string): boolean {
  return fileLook(path).kind === "image";
}
