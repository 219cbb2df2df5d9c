/** Which piece of the past is shown over the editor. */
import type { FileId, HistoryAuthor } from "@/gen/api";
import type { RescuedText } from "@/session/model";

export interface ShownVersion {
  kind: "version";
  file: FileId;
  path: string;
  at: number;
  authors: readonly HistoryAuthor[];
}

export interface ShownPlayback {
  kind: "playback";
  file: FileId;
  path: string;
  /** `null`: from the beginning. */
  from: number | null;
  /** `null`: up to the present. */
  to: number | null;
}

/** A text that the server did not take, beside the file as it is. */
export interface ShownRescue {
  kind: "rescue";
  text: RescuedText;
}

export type Shown = ShownVersion | ShownPlayback | ShownRescue;

export interface HistoryShown {
  shown: Shown | null;
}

export const NOTHING_SHOWN: HistoryShown = { shown: null };

/** Whether it covers the editor of a file. */
export function isOver(shown: Shown, file: FileId | null): boolean {
  return shown.kind === "rescue" || shown.file === file;
}
