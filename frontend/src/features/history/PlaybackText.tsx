import { useEffect, useRef, type CSSProperties } from "react";
import { PlaybackView } from "@/editor/history/playbackView";
import type { Timeline } from "@/editor/history/timeline";
import { useSettings } from "@/features/settings/settings";
import type { Player } from "./player";
import styles from "./Past.module.css";

interface PlaybackTextProps {
  path: string;
  timeline: Timeline;
  player: Player;
}

/** The box in which the text is written again. */
export function PlaybackText({ path, timeline, player }: PlaybackTextProps) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<PlaybackView | null>(null);
  const wrap = useSettings((settings) => settings.wrap);
  const fontSize = useSettings((settings) => settings.editorFontSize);
  useEffect(() => {
    if (box.current === null) return;
    const made = new PlaybackView(box.current, { path, timeline });
    view.current = made;
    let shown = -1;
    const show = () => {
      const { step } = player.getSnapshot();
      if (step === shown) return;
      shown = step;
      made.show(step);
    };
    show();
    const stop = player.subscribe(show);
    player.play();
    return () => {
      stop();
      player.pause();
      made.dispose();
    };
  }, [path, timeline, player]);
  useEffect(() => view.current?.setWrap(wrap), [wrap, timeline]);
  return (
    <div
      ref={box}
      className={styles.text}
      style={{ "--editor-font-size": `${fontSize}px` } as CSSProperties}
    />
  );
}
