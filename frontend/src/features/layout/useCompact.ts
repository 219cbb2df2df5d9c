import { useSyncExternalStore } from "react";

const query = () => window.matchMedia("(max-width: 719px)");

/** Whether there is room for one pane only. */
export function useCompact(): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = query();
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    () => query().matches,
  );
}
