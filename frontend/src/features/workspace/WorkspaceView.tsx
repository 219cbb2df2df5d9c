import { useEffect } from "react";
import type { ReplInfo } from "@/gen/api";
import { useKeys } from "@/features/commands/useKeys";
import { useDocumentTitle } from "@/features/format/useDocumentTitle";
import { useCompact } from "@/features/layout/useCompact";
import { NowhereGate, ReloadGate } from "@/features/session/gates";
import { StatusBar } from "@/features/status/StatusBar";
import { t } from "@/strings/en";
import { Banners } from "./Banners";
import { Header } from "./Header";
import { MobilePanes } from "./MobilePanes";
import { Overlays } from "./Overlays";
import { Panes } from "./Panes";
import { useFirstFile } from "./useFirstFile";
import { usePreviewOpens } from "./usePreviewOpens";
import { useShownFile } from "./useShownFile";
import { useRepl, useWorkspace } from "./useWorkspace";
import styles from "./Layout.module.css";

/** The edit screen. */
export function WorkspaceView({ info }: { info: ReplInfo }) {
  useDocumentTitle(info.name);
  useKeys();
  useFirstFile();
  useShownFile();
  usePreviewOpens();
  const compact = useCompact();
  const connection = useRepl((snapshot) => snapshot.connection);
  const ws = useWorkspace();
  const refused = connection.state === "refused";
  useEffect(() => {
    // Their sockets would be refused too, over and over.
    if (refused) ws.terminals.close();
  }, [ws, refused]);
  if (connection.state === "refused") {
    switch (connection.reason) {
      case "gone":
        return <NowhereGate title={t.gate.replGoneTitle} body={t.gate.replGone} />;
      case "forbidden":
        return <NowhereGate title={t.gate.replForbiddenTitle} body={t.gate.replForbidden} />;
      case "unauthorized":
        return <ReloadGate title={t.gate.noSessionTitle} body={t.gate.signedOut} />;
      case "outdated":
        return <ReloadGate title={t.gate.outdatedTitle} body={t.gate.outdated} />;
    }
  }
  return (
    <div className={styles.workspace}>
      <Header info={info} compact={compact} />
      <Banners />
      {compact ? <MobilePanes /> : <Panes />}
      <StatusBar compact={compact} />
      <Overlays />
    </div>
  );
}
