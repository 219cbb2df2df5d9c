import { PlaybackPane } from "./PlaybackPane";
import { RescuePane } from "./RescuePane";
import type { Shown } from "./shown";
import { VersionPane } from "./VersionPane";

/** A piece of the past, over the editor. */
export function HistoryLayer({ shown }: { shown: Shown }) {
  switch (shown.kind) {
    case "version":
      return <VersionPane key={`${shown.file} ${shown.at}`} shown={shown} />;
    case "playback":
      return <PlaybackPane key={`${shown.file} ${shown.from} ${shown.to}`} shown={shown} />;
    case "rescue":
      return <RescuePane key={shown.text.id} text={shown.text} />;
  }
}
