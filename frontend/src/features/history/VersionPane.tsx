import { Play, RotateCcw, TriangleAlert } from "lucide-react";
import { moment } from "@/features/format/time";
import { useNow } from "@/features/format/useNow";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { Spinner } from "@/ui/Spinner";
import { showPlayback, showPresent } from "./actions";
import { DiffBox } from "./DiffBox";
import { PastPane } from "./PastPane";
import { useRestoreVersion, useVersion } from "./queries";
import type { ShownVersion } from "./shown";
import { usePresentText } from "./usePresentText";

/** A file as it was, beside how it is. */
export function VersionPane({ shown }: { shown: ShownVersion }) {
  const ws = useWorkspace();
  const { file, path, at, authors } = shown;
  const of = { repl: ws.repl, file, path };
  const now = useNow(60_000, true);
  const blocked = useEditBlock();
  const version = useVersion(of, at);
  const present = usePresentText(file, path);
  const restore = useRestoreVersion(of, () => showPresent(ws));
  return (
    <PastPane
      label={t.history.version}
      title={moment(at, now)}
      badge={t.history.readOnly}
      authors={authors}
      actions={
        <>
          <Button
            size="small"
            variant="ghost"
            icon={<Play size={13} />}
            onClick={() => showPlayback(ws, { file, path, from: null, to: at })}
          >
            {t.history.playFromHere}
          </Button>
          <Button
            size="small"
            variant="primary"
            icon={<RotateCcw size={13} />}
            blocked={blocked}
            busy={restore.isPending}
            onClick={() => restore.mutate(at)}
          >
            {t.history.restore}
          </Button>
        </>
      }
    >
      {version.isError ? (
        <Message
          tone="danger"
          icon={<TriangleAlert size={22} />}
          title={t.history.versionFailed}
          action={<Button onClick={() => void version.refetch()}>{t.retry}</Button>}
        >
          {version.error.message}
        </Message>
      ) : version.data === undefined || present === null ? (
        <Message icon={<Spinner size={18} />} title={t.history.loadingVersion} />
      ) : (
        <DiffBox path={path} version={version.data} present={present} />
      )}
    </PastPane>
  );
}
