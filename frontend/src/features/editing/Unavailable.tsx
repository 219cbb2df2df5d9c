import { FileX2, ShieldX, TriangleAlert } from "lucide-react";
import { restore } from "@/features/files/actions";
import { closeTabs, type Tab } from "@/features/tabs/model";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";

interface UnavailableProps {
  tab: Tab;
  group: number;
  reason: "not-found" | "storage" | "refused";
}

/** Why a file cannot be shown, and what to do. */
export function Unavailable({ tab, group, reason }: UnavailableProps) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const close = () => ws.tabs.setState((tabs) => closeTabs(tabs, group, [tab.file]));
  const closeButton = <Button onClick={close}>{t.editor.closeTab}</Button>;
  switch (reason) {
    case "not-found":
      return (
        <Message
          icon={<FileX2 size={28} />}
          title={t.editor.gone}
          action={
            <>
              <Button
                variant="primary"
                blocked={blocked}
                onClick={() => void restore(ws, tab.path)}
              >
                {t.editor.restore}
              </Button>
              {closeButton}
            </>
          }
        >
          {t.editor.goneBody}
        </Message>
      );
    case "storage":
      return (
        <Message tone="warn" icon={<TriangleAlert size={28} />} title={t.editor.storage}>
          {t.editor.storageBody}
        </Message>
      );
    case "refused":
      return (
        <Message
          tone="danger"
          icon={<ShieldX size={28} />}
          title={t.editor.refused}
          action={closeButton}
        >
          {t.editor.refusedBody}
        </Message>
      );
  }
}
