import { t } from "@/strings/en";
import { nameFault } from "./names";

/** What is wrong with a typed name, in words; null when nothing is. */
export function faultText(name: string, siblings: readonly string[]): string | null {
  switch (nameFault(name, siblings)) {
    case null:
      return null;
    case "empty":
      return t.tree.nameEmpty;
    case "slash":
      return t.tree.nameSlash;
    case "control":
      return t.tree.nameControl;
    case "taken":
      return t.tree.nameTaken(name);
    case "long":
      return t.tree.nameLong;
  }
}
