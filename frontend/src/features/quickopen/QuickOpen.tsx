import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { openPath } from "@/features/files/actions";
import { FileIcon } from "@/features/languages/FileIcon";
import { baseName, parentOf } from "@/features/tree/names";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Picker, type PickerItem } from "@/ui/Picker";
import { allFiles } from "./crawl";
import { fuzzyScore } from "./fuzzy";

/** Opens a file by a part of its name. Known files are there at once, the rest as it comes. */
export function QuickOpen({ onClose }: { onClose: () => void }) {
  const ws = useWorkspace();
  const crawl = useQuery({
    queryKey: ["files", ws.repl],
    queryFn: ({ signal }) => allFiles(ws.repl, signal),
    staleTime: 5_000,
  });
  const items = useMemo(() => {
    const open = ws.tabs.getState().groups.flatMap(({ tabs }) => tabs.map(({ path }) => path));
    const known = knownFiles(ws);
    const paths = new Set([...open, ...known, ...(crawl.data ?? [])]);
    return [...paths].map((path): PickerItem => ({
      id: path,
      label: baseName(path),
      detail: parentOf(path),
      icon: <FileIcon name={baseName(path)} />,
    }));
  }, [ws, crawl.data]);
  return (
    <Picker
      title={t.palette.quickOpen}
      placeholder={t.palette.quickOpenPlaceholder}
      empty={t.palette.noFile}
      busy={crawl.isFetching ? t.palette.loadingFiles : undefined}
      items={items}
      score={(item, query) => fuzzyScore(item.id, query)}
      onClose={onClose}
      onPick={(path) => void openPath(ws, path)}
    />
  );
}

function knownFiles(ws: ReturnType<typeof useWorkspace>): string[] {
  return [...ws.tree.getSnapshot().paths.values()].filter(
    (path) => ws.tree.find(path)?.kind === "file",
  );
}
