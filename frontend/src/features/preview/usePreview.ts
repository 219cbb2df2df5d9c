import { useMemo } from "react";
import type { PortInfo, RunInfo } from "@/gen/api";
import { outcomeOf } from "@/features/run/outcome";
import { useLive, useSurface } from "@/features/workspace/useWorkspace";

const NO_PORTS: PortInfo[] = [];

export type PreviewState =
  | { state: "nothing" }
  | { state: "waiting" }
  | { state: "crashed"; run: RunInfo }
  | { state: "stopped"; run: RunInfo }
  | { state: "page"; port: number; url: string };

/** The ports a preview can show. */
export function useUsablePorts(): PortInfo[] {
  const ports = useLive((live) => live.ports) ?? NO_PORTS;
  return useMemo(() => ports.filter(({ allowed, url }) => allowed && url !== null), [ports]);
}

/** What the preview has to say or show. */
export function usePreview(): PreviewState {
  const usable = useUsablePorts();
  const chosen = useSurface((surface) => surface.port);
  const run = useLive((live) => live.run);
  return useMemo(() => {
    const shown = usable.find(({ port }) => port === chosen) ?? usable[0];
    if (shown?.url) return { state: "page", port: shown.port, url: shown.url };
    if (run !== null && run.exit === null) return { state: "waiting" };
    if (run !== null && run.exit !== null) {
      const outcome = outcomeOf(run.exit);
      if (outcome === "bad") return { state: "crashed", run };
      if (outcome === "stopped") return { state: "stopped", run };
    }
    return { state: "nothing" };
  }, [usable, chosen, run]);
}
