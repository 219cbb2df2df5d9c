/** Names people type for files and folders. */
export type NameFault = "empty" | "slash" | "control" | "taken" | "long" | null;

/** What is wrong with a typed name, which may hold `/` to make folders on the way. */
export function nameFault(name: string, siblings: readonly string[]): NameFault {
  if (name === "") return "empty";
  const parts = name.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) return "slash";
  // The server refuses these too: characters that hide or reorder what a name looks like.
  if (/[\p{Cc}\u202a-\u202e\u2066-\u2069\u200e\u200f]/u.test(name)) return "control";
  const encoder = new TextEncoder();
  if (encoder.encode(name).length > 1024) return "long";
  if (parts.some((part) => encoder.encode(part).length > 255)) return "long";
  if (parts.length === 1 && siblings.includes(name)) return "taken";
  return null;
}

/** The folder part of a path, empty at the top. */
export function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A path below a folder; the top is the empty path. */
export function joinPath(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

/** Length of the name without its ending, which renaming selects. */
export function stemLength(name: string): number {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? dot : name.length;
}
