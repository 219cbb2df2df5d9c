import { CommandPalette } from "@/features/commands/CommandPalette";
import { GoToLine } from "@/features/commands/GoToLine";
import { KeysDialog } from "@/features/commands/KeysDialog";
import { QuickOpen } from "@/features/quickopen/QuickOpen";
import { ProfileDialog } from "@/features/session/ProfileDialog";
import { useMe } from "@/features/session/MeContext";
import { ShareDialog } from "@/features/share/ShareDialog";
import { useSurface, useWorkspace } from "./useWorkspace";

/** Whatever is drawn over the workspace. */
export function Overlays() {
  const ws = useWorkspace();
  const me = useMe();
  const overlay = useSurface((surface) => surface.overlay);
  const close = () => ws.show(null);
  switch (overlay) {
    case null:
      return null;
    case "commands":
      return <CommandPalette onClose={close} />;
    case "files":
      return <QuickOpen onClose={close} />;
    case "line":
      return <GoToLine onClose={close} />;
    case "keys":
      return <KeysDialog onClose={close} />;
    case "share":
      return <ShareDialog onClose={close} />;
    case "profile":
      return (
        <ProfileDialog
          me={me}
          open
          onClose={close}
          onChanged={(changed) => ws.page.rename(changed)}
        />
      );
  }
}
