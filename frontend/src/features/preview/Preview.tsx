import { Globe, Hourglass, OctagonX } from "lucide-react";
import { run, showConsole } from "@/features/run/actions";
import { exitMark } from "@/features/run/outcome";
import { useEditBlock, useSurface, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { LastLines } from "./LastLines";
import { PreviewFrame } from "./PreviewFrame";
import { usePreview } from "./usePreview";

/** The web page of the program, or why there is none. */
export function Preview() {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const starting = useSurface((surface) => surface.starting);
  const preview = usePreview();
  switch (preview.state) {
    case "page":
      return <PreviewFrame key={preview.url} port={preview.port} url={preview.url} />;
    case "waiting":
      return (
        <Message icon={<Hourglass size={26} strokeWidth={1.5} />} title={t.preview.waitingTitle}>
          {t.preview.waitingBody}
        </Message>
      );
    case "crashed":
      return (
        <Message
          tone="danger"
          icon={<OctagonX size={26} strokeWidth={1.5} />}
          title={t.preview.crashedTitle(
            preview.run.exit === null ? "" : exitMark(preview.run.exit),
          )}
          action={
            <>
              <Button
                variant="primary"
                blocked={blocked}
                busy={starting}
                onClick={() => void run(ws, preview.run.task)}
              >
                {t.run.runAgain}
              </Button>
              <Button onClick={() => showConsole(ws)}>{t.preview.showConsole}</Button>
            </>
          }
        >
          <LastLines terminal={preview.run.terminal} />
        </Message>
      );
    case "stopped":
      return (
        <Message
          icon={<Globe size={26} strokeWidth={1.5} />}
          title={t.preview.stoppedTitle}
          action={
            <Button
              blocked={blocked}
              busy={starting}
              onClick={() => void run(ws, preview.run.task)}
            >
              {t.run.runAgain}
            </Button>
          }
        >
          {t.preview.stoppedBody}
        </Message>
      );
    case "nothing":
      return (
        <Message icon={<Globe size={26} strokeWidth={1.5} />} title={t.preview.nothingTitle}>
          {t.preview.nothingBody}
        </Message>
      );
  }
}
