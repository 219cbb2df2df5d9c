import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Picker } from "@/ui/Picker";
import { COMMANDS } from "./commands";
import { perform } from "./useKeys";

/** Every command by name. */
export function CommandPalette({ onClose }: { onClose: () => void }) {
  const ws = useWorkspace();
  return (
    <Picker
      title={t.palette.title}
      placeholder={t.palette.placeholder}
      empty={t.palette.none}
      items={COMMANDS.filter(({ hidden }) => hidden !== true).map((command) => ({
        id: command.id,
        label: command.title,
        group: t.palette.groups[command.group],
        keys: command.keys?.[0],
      }))}
      onClose={onClose}
      onPick={(id) => {
        const command = COMMANDS.find((one) => one.id === id);
        // After the palette has given the focus back.
        if (command !== undefined) setTimeout(() => perform(ws, command));
      }}
    />
  );
}
