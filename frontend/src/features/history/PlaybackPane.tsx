import { RotateCcw, TriangleAlert } from "lucide-react";
import { useState, useSyncExternalStore, type KeyboardEvent } from "react";
import { useEditBlock, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { Spinner } from "@/ui/Spinner";
import { showPresent } from "./actions";
import { PastPane } from "./PastPane";
import { PlaybackBar } from "./PlaybackBar";
import { PlaybackText } from "./PlaybackText";
import type { Player } from "./player";
import { useRestoreVersion } from "./queries";
import type { ShownPlayback } from "./shown";
import { type Loading, usePlayback } from "./usePlayback";

type Ready = Extract<Loading, { state: "ready" }>;

/** A file as it was written, keystroke by keystroke. */
export function PlaybackPane({ shown }: { shown: ShownPlayback }) {
  const ws = useWorkspace();
  const { file, path, from, to } = shown;
  const of = { repl: ws.repl, file, path };
  // Long histories come in parts: the beginnings of this one and of those before it.
  const [parts, setParts] = useState<(number | null)[]>([from]);
  const [attempt, setAttempt] = useState(0);
  const loading = usePlayback(of, { from: parts.at(-1) ?? null, to }, attempt);
  const title = t.history.playbackOf(path.slice(path.lastIndexOf("/") + 1));
  if (loading.state === "ready" && loading.timeline.length > 0) {
    const { nextFrom } = loading;
    return (
      <Playing
        key={parts.length}
        ready={loading}
        shown={shown}
        title={title}
        onEarlier={parts.length > 1 ? () => setParts(parts.slice(0, -1)) : null}
        onLater={nextFrom === null ? null : () => setParts([...parts, nextFrom])}
      />
    );
  }
  return (
    <PastPane label={t.history.playback} title={title}>
      {loading.state === "failed" ? (
        <Message
          tone="danger"
          icon={<TriangleAlert size={22} />}
          title={t.history.playbackFailed}
          action={<Button onClick={() => setAttempt(attempt + 1)}>{t.retry}</Button>}
        >
          {loading.reason}
        </Message>
      ) : loading.state === "ready" ? (
        <Message title={t.history.playbackEmpty} />
      ) : (
        <Message
          icon={<Spinner size={18} />}
          title={t.history.preparing(Math.round(loading.share * 100))}
        />
      )}
    </PastPane>
  );
}

interface PlayingProps {
  ready: Ready;
  shown: ShownPlayback;
  title: string;
  onEarlier: (() => void) | null;
  onLater: (() => void) | null;
}

function Playing({ ready: { timeline, player }, shown, title, onEarlier, onLater }: PlayingProps) {
  const ws = useWorkspace();
  const blocked = useEditBlock();
  const { file, path } = shown;
  const restore = useRestoreVersion({ repl: ws.repl, file, path }, () => showPresent(ws));
  const step = useSyncExternalStore(player.subscribe, () => player.getSnapshot().step);
  const at = timeline.step(step)?.ms ?? timeline.beginMs;
  return (
    <PastPane
      label={t.history.playback}
      title={title}
      authors={timeline.authors}
      onKeyDown={(event) => onKey(event, player, timeline.length)}
      actions={
        <Button
          size="small"
          icon={<RotateCcw size={13} />}
          blocked={blocked}
          busy={restore.isPending}
          onClick={() => restore.mutate(at)}
        >
          {t.history.restore}
        </Button>
      }
    >
      <PlaybackText path={path} timeline={timeline} player={player} />
      <PlaybackBar timeline={timeline} player={player} onEarlier={onEarlier} onLater={onLater} />
    </PastPane>
  );
}

/** Space, arrows, Home and End, wherever in the playback the focus is. */
function onKey(event: KeyboardEvent, player: Player, last: number): void {
  const { target } = event;
  const onButton = target instanceof HTMLButtonElement;
  const moves: Record<string, () => void> = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.move(event.shiftKey ? -10 : -1),
    ArrowRight: () => player.move(event.shiftKey ? 10 : 1),
    Home: () => player.move(-last),
    End: () => player.move(last),
  };
  // A focused button is pressed by Space; the speeds have arrows of their own.
  if (onButton && (event.key === " " || target.role === "radio")) return;
  const move = moves[event.key];
  if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  move();
}
