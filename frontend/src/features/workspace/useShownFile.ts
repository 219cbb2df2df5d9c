import { useEffect } from "react";
import { activeTab } from "@/features/tabs/model";
import { useTabs, useWorkspace } from "./useWorkspace";

/** Tells the others which file is in front here. */
export function useShownFile(): void {
  const ws = useWorkspace();
  const file = useTabs((tabs) => activeTab(tabs)?.file ?? null);
  useEffect(() => ws.page.showFile(file), [ws, file]);
}
