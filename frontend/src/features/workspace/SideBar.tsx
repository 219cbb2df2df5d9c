import { lazy, Suspense } from "react";
import { FilesView } from "@/features/files/FilesView";
import { useLayout } from "@/features/layout/layout";
import { PortsView } from "@/features/ports/PortsView";
import { SettingsView } from "@/features/settings/SettingsView";
import { t } from "@/strings/en";
import { SideView } from "./SideView";

const HistoryView = lazy(async () => ({
  default: (await import("@/features/history/HistoryView")).HistoryView,
}));

/** The chosen view. */
export function SideBar() {
  const view = useLayout((layout) => layout.sidebarView);
  switch (view) {
    case "files":
      return <FilesView />;
    case "history":
      return (
        <Suspense fallback={<SideView title={t.history.title}>{null}</SideView>}>
          <HistoryView />
        </Suspense>
      );
    case "ports":
      return <PortsView />;
    case "settings":
      return <SettingsView />;
  }
}
