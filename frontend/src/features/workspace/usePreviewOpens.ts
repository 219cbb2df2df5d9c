import { useEffect, useRef } from "react";
import { changeLayout } from "@/features/layout/layout";
import { useUsablePorts } from "@/features/preview/usePreview";
import { useLive } from "./useWorkspace";

/** Opens the preview when a program of a run begins to listen. */
export function usePreviewOpens(): void {
  const ports = useUsablePorts().length;
  const running = useLive((live) => live.run !== null && live.run.exit === null) ?? false;
  const before = useRef<number | null>(null);
  useEffect(() => {
    const appeared = before.current === 0 && ports > 0;
    before.current = ports;
    if (appeared && running) changeLayout({ rightOpen: true, rightView: "preview" });
  }, [ports, running]);
}
