import { useEffect, useState } from "react";
import { useHeld } from "@/ui/useHeld";
import { useWorkspace } from "@/features/workspace/useWorkspace";

/** How long the present has to rest before it is compared again. */
const REST_MS = 400;

/** The text of a file as it is now; null until it is here. */
export function usePresentText(file: string, path: string): string | null {
  const ws = useWorkspace();
  const [text, setText] = useState<string | null>(null);
  const document = useHeld(
    { make: () => ws.page.openDocument(file, path), release: (opened) => opened.release() },
    file,
  );
  useEffect(() => {
    if (document === null) return;
    let watched: (() => void) | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      watched?.();
      watched = null;
      const shown = document.getSnapshot();
      if (shown.state !== "open") return;
      const { text: live } = shown.replica;
      const read = () => setText(live.toString());
      const later = () => {
        clearTimeout(timer);
        timer = setTimeout(read, REST_MS);
      };
      read();
      live.observe(later);
      watched = () => live.unobserve(later);
    };
    look();
    const stop = document.subscribe(look);
    return () => {
      stop();
      watched?.();
      clearTimeout(timer);
    };
  }, [document]);
  return text;
}
