import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Picker } from "@/ui/Picker";

/** Asks for a line and goes there. */
export function GoToLine({ onClose }: { onClose: () => void }) {
  const ws = useWorkspace();
  return (
    <Picker
      title={t.palette.goToLine}
      placeholder={t.palette.goToLinePlaceholder}
      empty={t.palette.goToLinePlaceholder}
      items={[]}
      typed={(query) => {
        const line = /^:?(\d{1,9})$/.exec(query.trim())?.[1];
        return line === undefined ? [] : [{ id: line, label: t.palette.goToLineRow(Number(line)) }];
      }}
      onClose={onClose}
      onPick={(line) => {
        const { editor } = ws.editor.getState();
        setTimeout(() => {
          editor?.goToLine(Number(line));
          editor?.focus();
        });
      }}
    />
  );
}
