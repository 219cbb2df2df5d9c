/** Why the server has no text for a file, from the number of its refusal. */
import { Refusal } from "@/wire/codec";

export function reasonOf(
  code: number,
): "not-found" | "not-text" | "too-large" | "storage" | "refused" {
  switch (code) {
    case Refusal.notFound:
      return "not-found";
    case Refusal.notText:
      return "not-text";
    case Refusal.tooLarge:
      return "too-large";
    case Refusal.unavailable:
      return "storage";
    default:
      return "refused";
  }
}
