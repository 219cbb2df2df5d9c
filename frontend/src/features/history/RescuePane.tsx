import { RotateCcw } from "lucide-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { readFile, writeFile } from "@/api/client";
import { ProblemError } from "@/api/problem";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import type { RescuedText } from "@/session/model";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { Spinner } from "@/ui/Spinner";
import { complain, say } from "@/ui/Toaster";
import { showPresent } from "./actions";
import { DiffBox } from "./DiffBox";
import { PastPane } from "./PastPane";

/** The file as it is; nothing when it is gone. */
async function presentText(repl: string, path: string, signal: AbortSignal): Promise<string> {
  try {
    return (await (await readFile(repl, path, { signal })).text()).replace(/\r\n?/g, "\n");
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return "";
    throw error;
  }
}

/** A text that was set aside, beside the file as it is. */
export function RescuePane({ text }: { text: RescuedText }) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const present = useQuery({
    queryKey: ["present", ws.repl, text.path],
    queryFn: ({ signal }) => presentText(ws.repl, text.path, signal),
    refetchInterval: 5_000,
    retry: 1,
  });
  const use = useMutation({
    mutationFn: () => writeFile(ws.repl, text.path, text.text),
    onSuccess: () => {
      ws.page.dismissRescued(text.id);
      showPresent(ws);
      say(t.history.rescueUsed);
    },
    onError: (error) => complain(t.history.rescueFailed, error.message),
  });
  return (
    <PastPane
      label={t.history.rescueTitle(text.path)}
      title={t.history.rescueTitle(text.path)}
      actions={
        <Button
          size="small"
          variant="primary"
          icon={<RotateCcw size={13} />}
          blocked={blocked}
          busy={use.isPending}
          onClick={() => use.mutate()}
        >
          {t.history.rescueUse}
        </Button>
      }
    >
      {present.data === undefined ? (
        <Message
          icon={<Spinner size={18} />}
          title={present.isError ? t.history.versionFailed : t.history.loadingVersion}
        />
      ) : (
        <DiffBox path={text.path} version={text.text} present={present.data} />
      )}
    </PastPane>
  );
}
