import { Play, TriangleAlert } from "lucide-react";
import { useEditBlock, useLive, useSurface, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Keys } from "@/ui/Keys";
import { Message } from "@/ui/Message";
import { openConfig, run } from "./actions";

/** The console before the first run: what Run will do, or why it cannot. */
export function NeverRun() {
  const ws = useWorkspace();
  const starting = useSurface((surface) => surface.starting);
  const blocked = useEditBlock();
  const command = useLive(
    (live) => (live.tasks.find(({ name }) => name === "run") ?? live.tasks[0])?.command,
  );
  const known = useLive((live) => live.sandbox.state === "ready");
  const sandbox = useLive((live) => live.sandbox);
  if (sandbox?.state === "failed") {
    return (
      <Message
        tone="danger"
        icon={<TriangleAlert size={26} strokeWidth={1.5} />}
        title={t.workspace.sandbox.failed}
        action={
          <Button blocked={blocked} busy={starting} onClick={() => void run(ws)}>
            {t.retry}
          </Button>
        }
      >
        {sandbox.message} {t.workspace.sandbox.failedBody}
      </Message>
    );
  }
  if (known === true && command === undefined) {
    return (
      <Message
        title={t.run.nothingTitle}
        action={
          <Button blocked={blocked} onClick={() => void openConfig(ws)}>
            {t.run.openConfig}
          </Button>
        }
      >
        {t.run.nothingBody}
      </Message>
    );
  }
  return (
    <Message
      title={t.run.neverTitle}
      action={
        <Button
          variant="go"
          icon={<Play size={13} fill="currentColor" />}
          blocked={blocked}
          onClick={() => void run(ws)}
        >
          {t.run.run}
        </Button>
      }
    >
      {typeof command === "string" ? t.run.neverBody(command) : t.run.neverBodyUnknown}{" "}
      <Keys chord="Mod+Enter" />
    </Message>
  );
}
