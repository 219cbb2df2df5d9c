import { History, Play, UserPen } from "lucide-react";
import { useState } from "react";
import { useSettings } from "@/features/settings/settings";
import { activeTab } from "@/features/tabs/model";
import { SideView } from "@/features/workspace/SideView";
import { useTabs, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { IconButton } from "@/ui/IconButton";
import { Message } from "@/ui/Message";
import { Segmented } from "@/ui/Segmented";
import { showPlayback } from "./actions";
import { Checkpoints } from "./Checkpoints";
import { FileSessions } from "./FileSessions";
import { useFileHistory } from "./queries";
import styles from "./History.module.css";

type Scope = "file" | "checkpoints";

/** The past of the open file, and of the whole repl. */
export function HistoryView() {
  const [scope, setScope] = useState<Scope>("file");
  const tab = useTabs(activeTab);
  const text = tab !== null && tab.kind === "text" ? tab : null;
  return (
    <SideView
      title={t.history.title}
      actions={scope === "file" && text !== null && <FileActions key={text.file} {...text} />}
    >
      <div className={styles.scope}>
        <Segmented<Scope>
          label={t.history.scope}
          value={scope}
          options={[
            { value: "file", label: t.history.thisFile },
            { value: "checkpoints", label: t.history.checkpoints },
          ]}
          onChange={setScope}
        />
      </div>
      <div className={styles.scroll}>
        {scope === "checkpoints" ? (
          <Checkpoints />
        ) : text !== null ? (
          <FileSessions key={text.file} file={text.file} path={text.path} />
        ) : (
          <Message
            icon={<History size={24} strokeWidth={1.5} />}
            title={tab === null ? t.history.noFileTitle : t.history.noTextTitle}
          >
            {tab === null ? t.history.noFileBody : t.history.noTextBody}
          </Message>
        )}
      </div>
    </SideView>
  );
}

function FileActions({ file, path }: { file: string; path: string }) {
  const ws = useWorkspace();
  const blame = useSettings((settings) => settings.blame);
  const history = useFileHistory({ repl: ws.repl, file, path });
  const empty = (history.data?.pages[0]?.from_ms ?? null) === null;
  return (
    <>
      <IconButton
        size="small"
        label={t.history.blame}
        keys="Alt+B"
        pressed={blame}
        onClick={() => useSettings.setState({ blame: !blame })}
      >
        <UserPen size={15} />
      </IconButton>
      <IconButton
        size="small"
        label={t.history.playAll}
        blocked={empty ? t.history.emptyTitle : undefined}
        onClick={() => showPlayback(ws, { file, path, from: null, to: null })}
      >
        <Play size={15} />
      </IconButton>
    </>
  );
}
