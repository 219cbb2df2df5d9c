import type { TerminalId } from "@/gen/api";
import { t } from "@/strings/en";

/** What the program said last. */
export function LastLines({ terminal: _ }: { terminal: TerminalId }) {
  return <>{t.preview.crashedBody}</>;
}
