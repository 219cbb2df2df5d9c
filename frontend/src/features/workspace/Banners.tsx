import { CloudOff, LifeBuoy, TriangleAlert } from "lucide-react";
import { useEffect, useRef } from "react";
import { showRescue } from "@/features/history/actions";
import { useNow } from "@/features/format/useNow";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { copyText } from "@/ui/copy";
import { say } from "@/ui/Toaster";
import { useEditBlock, useLive, useRepl, useWorkspace } from "./useWorkspace";
import styles from "./Layout.module.css";

/** Lines under the header about what needs to be known now. */
export function Banners() {
  return (
    <>
      <OfflineBanner />
      <StorageBanner />
      <RescuedBanner />
    </>
  );
}

function OfflineBanner() {
  const ws = useWorkspace();
  const connection = useRepl((snapshot) => snapshot.connection);
  const blocked = useEditBlock();
  const waiting = connection.state === "waiting";
  const now = useNow(1000, waiting);
  const wasAway = useRef(false);
  useEffect(() => {
    if (connection.state === "waiting") wasAway.current = true;
    if (connection.state === "open" && wasAway.current) {
      wasAway.current = false;
      say(t.workspace.caughtUp);
    }
  }, [connection.state]);
  // A first retry comes at once and is nothing to talk about.
  const shown =
    (waiting && connection.attempt > 1) ||
    (connection.state === "connecting" && connection.attempt > 1);
  if (!shown) return null;
  const seconds = waiting ? Math.max(0, Math.ceil((connection.retryAt - now) / 1000)) : 0;
  return (
    <div className={styles.banner} role="status">
      <CloudOff size={15} aria-hidden />
      {t.workspace.offlineBanner(seconds)} {blocked === undefined && t.workspace.offlineTyping}
      <Button size="small" onClick={() => ws.page.reconnect()}>
        {t.workspace.reconnectNow}
      </Button>
    </div>
  );
}

function StorageBanner() {
  const error = useLive((live) => live.durability.log_error);
  if (error === null) return null;
  return (
    <div className={styles.banner} data-tone="danger" role="alert">
      <TriangleAlert size={15} aria-hidden />
      {t.editor.storage}. {t.editor.storageBody}
    </div>
  );
}

function RescuedBanner() {
  const ws = useWorkspace();
  const first = useRepl((snapshot) => snapshot.rescued[0]);
  if (first === undefined) return null;
  return (
    <div className={styles.banner} role="status">
      <LifeBuoy size={15} aria-hidden />
      <span>
        <b>{t.workspace.rescuedTitle(first.path)}</b> {t.workspace.rescuedBody[first.reason]}
      </span>
      <Button size="small" onClick={() => showRescue(ws, first)}>
        {t.workspace.rescuedCompare}
      </Button>
      <Button
        size="small"
        variant="ghost"
        onClick={() =>
          void copyText(first.text).then((worked) => say(worked ? t.copied : t.copyFailed))
        }
      >
        {t.workspace.rescuedShow}
      </Button>
      <Button size="small" variant="ghost" onClick={() => ws.page.dismissRescued(first.id)}>
        {t.workspace.rescuedDismiss}
      </Button>
    </div>
  );
}
