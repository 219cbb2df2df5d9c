import { FilesView } from "@/features/files/FilesView";
import { useLayout } from "@/features/layout/layout";
import { PortsView } from "@/features/ports/PortsView";
import { SettingsView } from "@/features/settings/SettingsView";

/** The chosen view. */
export function SideBar() {
  const view = useLayout((layout) => layout.sidebarView);
  switch (view) {
    case "files":
      return <FilesView />;
    case "ports":
      return <PortsView />;
    case "settings":
      return <SettingsView />;
  }
}
