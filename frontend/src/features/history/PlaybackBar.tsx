import { Pause, Play, SkipBack, SkipForward, StepBack, StepForward } from "lucide-react";
import { useSyncExternalStore, type CSSProperties } from "react";
import type { Timeline } from "@/editor/history/timeline";
import { moment } from "@/features/format/time";
import { useNow } from "@/features/format/useNow";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { IconButton } from "@/ui/IconButton";
import { Segmented } from "@/ui/Segmented";
import { type Player, SPEEDS } from "./player";
import styles from "./Past.module.css";

interface PlaybackBarProps {
  timeline: Timeline;
  player: Player;
  onEarlier: (() => void) | null;
  onLater: (() => void) | null;
}

/** Play, pause, where, how fast. */
export function PlaybackBar({ timeline, player, onEarlier, onLater }: PlaybackBarProps) {
  const state = useSyncExternalStore(player.subscribe, player.getSnapshot);
  const { step, playing, speed, length: all, prepared } = state;
  const now = useNow(60_000, true);
  const edit = timeline.step(step);
  const when = moment(edit?.ms ?? timeline.beginMs, now);
  const author = edit?.author ?? null;
  const name = edit === null ? t.history.begin : (author?.name ?? t.history.asItCame);
  return (
    <footer className={styles.player}>
      <div className={styles.track}>
        <input
          type="range"
          className={styles.slider}
          aria-label={t.history.position}
          aria-valuetext={t.history.positionText(step, all, when, name)}
          min={0}
          max={all}
          value={step}
          style={{ "--share": `${(step / all) * 100}%` } as CSSProperties}
          onChange={(event) => {
            player.pause();
            player.seek(event.target.valueAsNumber);
          }}
        />
      </div>
      <div className={styles.controls}>
        {onEarlier !== null && (
          <IconButton side="top" label={t.history.earlierPart} onClick={onEarlier}>
            <SkipBack size={15} />
          </IconButton>
        )}
        <IconButton
          side="top"
          label={t.history.stepBack}
          keys="ArrowLeft"
          onClick={() => player.move(-1)}
        >
          <StepBack size={15} />
        </IconButton>
        <IconButton
          side="top"
          className={styles.playButton}
          label={playing ? t.history.pause : t.history.play}
          keys="Space"
          onClick={() => player.toggle()}
        >
          {playing ? <Pause size={16} /> : <Play size={16} />}
        </IconButton>
        <IconButton
          side="top"
          label={t.history.stepForward}
          keys="ArrowRight"
          onClick={() => player.move(1)}
        >
          <StepForward size={15} />
        </IconButton>
        {onLater !== null && (
          <IconButton side="top" label={t.history.laterPart} onClick={onLater}>
            <SkipForward size={15} />
          </IconButton>
        )}
        <span className={styles.where}>
          {author !== null && <Avatar name={author.name} colour={author.colour} size={18} />}
          <span className={styles.who}>{name}</span>
          <span className={styles.when}>{when}</span>
        </span>
        <span className={styles.space} />
        <span className={styles.steps}>
          {prepared < 1
            ? t.history.preparing(Math.floor(prepared * 100))
            : t.history.stepOf(step, all)}
        </span>
        <Segmented
          label={t.history.speed}
          value={String(speed)}
          options={SPEEDS.map((one) => ({ value: String(one), label: t.history.times(one) }))}
          onChange={(chosen) => {
            const next = SPEEDS.find((one) => String(one) === chosen);
            if (next !== undefined) player.setSpeed(next);
          }}
        />
      </div>
    </footer>
  );
}
