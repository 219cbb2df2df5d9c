import type { Exit, RunInfo } from "@/gen/api";
import { duration } from "@/features/format/time";
import { t } from "@/strings/en";

export type Outcome = "running" | "good" | "bad" | "stopped";

const SIGINT = 2;
const SIGKILL = 9;
const SIGTERM = 15;

/** The machine ended first: how the program ended is not known. */
const isLost = ({ code, signal }: Exit) => code === null && signal === null;

/** How a run stands, for colours and icons. */
export function outcomeOf(exit: Exit | null): Outcome {
  if (exit === null) return "running";
  if (exit.code === 0) return "good";
  if (isLost(exit)) return "stopped";
  if (exit.signal !== null && [SIGINT, SIGKILL, SIGTERM].includes(exit.signal)) return "stopped";
  return "bad";
}

/** How a run ended, in words. */
export function outcomeText({ exit }: Pick<RunInfo, "exit">): string {
  if (exit === null) return t.run.running;
  if (isLost(exit)) return t.run.lost;
  const time = duration(exit.duration_ms);
  if (exit.code === 0) return t.run.finished(time);
  if (exit.code !== null) return t.run.exitCode(exit.code, time);
  if (outcomeOf(exit) === "stopped") return t.run.stopped(time);
  return t.run.killed(exit.signal ?? 0, time);
}

/** The shortest word for how a terminal ended. */
export function exitMark(exit: Exit): string {
  if (isLost(exit)) return t.terminal.lost;
  if (exit.code !== null) return t.terminal.exit(exit.code);
  return t.terminal.signal(exit.signal ?? 0);
}
