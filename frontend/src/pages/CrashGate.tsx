import { ReloadGate } from "@/features/session/gates";
import { t } from "@/strings/en";

/** A part of the page threw while drawing. */
export function CrashGate() {
  return <ReloadGate title={t.gate.crashedTitle} body={t.gate.crashed} />;
}
