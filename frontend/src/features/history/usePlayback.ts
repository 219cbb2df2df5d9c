import { useEffect, useState } from "react";
import { getReplay } from "@/api/history";
import { Timeline } from "@/editor/history/timeline";
import { Player } from "./player";
import type { FileOfRepl } from "./queries";

export type Loading =
  | { state: "loading"; share: number }
  | { state: "failed"; reason: string }
  | { state: "ready"; timeline: Timeline; player: Player; nextFrom: number | null };

/** Playing begins when so many steps are there; the rest comes meanwhile. */
const ENOUGH = 500;

/** Fetches and replays one window of a file's history; `attempt` changes to try again. */
export function usePlayback(
  { repl, path }: FileOfRepl,
  window: { from: number | null; to: number | null },
  attempt: number,
): Loading {
  const [loading, setLoading] = useState<Loading>({ state: "loading", share: 0 });
  const { from, to } = window;
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    let player: Player | null = null;
    const load = async () => {
      const { bytes, nextFrom } = await getReplay(repl, path, { from, to }, signal);
      const timeline = Timeline.read(bytes);
      const made = new Player(timeline);
      player = made;
      let shown = false;
      await timeline.prepare(() => {
        made.grow();
        if (signal.aborted || shown) return;
        shown = timeline.length >= ENOUGH || timeline.prepared === 1;
        if (shown) setLoading({ state: "ready", timeline, player: made, nextFrom });
        else setLoading({ state: "loading", share: timeline.prepared });
      }, signal);
    };
    setLoading({ state: "loading", share: 0 });
    load().catch((error: unknown) => {
      if (signal.aborted) return;
      setLoading({ state: "failed", reason: error instanceof Error ? error.message : "" });
    });
    return () => {
      stop.abort();
      player?.dispose();
    };
  }, [repl, path, from, to, attempt]);
  return loading;
}
