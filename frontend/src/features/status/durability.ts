/** What the status bar says about how safe the work is. */
import type { DurabilityInfo } from "@/gen/api";
import type { ConnectionState, Durability } from "@/session/model";
import { duration } from "@/features/format/time";
import { t } from "@/strings/en";

/** An edit that stays unconfirmed for longer is worth a warning. */
const LATE_MS = 5000;

export interface DurabilityMark {
  tone: "calm" | "good" | "warn" | "danger";
  mark: "idle" | "busy" | "disk" | "stored" | "late";
  text: string;
  hint: string;
}

interface Facts {
  durability: Durability;
  connection: ConnectionState;
  server: DurabilityInfo | null;
  now: number;
}

export function durabilityMark({ durability, connection, server, now }: Facts): DurabilityMark {
  if (server !== null && server.log_error !== null) {
    return { tone: "danger", mark: "late", text: t.status.logError, hint: server.log_error };
  }
  switch (durability.state) {
    case "unsaved": {
      const age = now - durability.since;
      const hint = durability.keptLocally ? t.status.lateHint : t.status.lateHintMemory;
      if (connection.state !== "open") {
        return { tone: "warn", mark: "late", text: t.status.unsent(durability.edits), hint };
      }
      if (age > LATE_MS) {
        const text = t.status.late(durability.edits, duration(Math.floor(age / 1000) * 1000));
        return { tone: "warn", mark: "late", text, hint };
      }
      return { tone: "calm", mark: "busy", text: t.status.typing, hint: t.status.typingHint };
    }
    case "on-disk":
      if (server !== null && server.blob_store_error !== null) {
        return {
          tone: "warn",
          mark: "disk",
          text: `${t.status.onDisk} · ${t.status.blobStoreError}`,
          hint: server.blob_store_error,
        };
      }
      return { tone: "good", mark: "disk", text: t.status.onDisk, hint: t.status.onDiskHint };
    case "stored":
      return { tone: "good", mark: "stored", text: t.status.backedUp, hint: t.status.backedUpHint };
    case "idle":
      return { tone: "calm", mark: "idle", text: t.status.nothingTyped, hint: t.status.idleHint };
  }
}
