/** The open files of one repl on this page; kept in localStorage per repl. */
import { createStore, type StoreApi } from "zustand/vanilla";
import { persist } from "zustand/middleware";
import type { ReplId } from "@/gen/api";
import { EMPTY_TABS, type TabsState } from "./model";

export type TabsStore = StoreApi<TabsState>;

/** One store per opened repl. */
export function createTabsStore(repl: ReplId): TabsStore {
  return createStore<TabsState>()(
    persist(() => EMPTY_TABS, {
      name: `tandem.tabs.${repl}`,
      version: 1,
    }),
  );
}
