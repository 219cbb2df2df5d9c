import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ChevronLeft, ChevronRight, Download } from "lucide-react";
import { useMemo, useState } from "react";
import { fileUrl, readFile } from "@/api/client";
import { download } from "@/features/files/actions";
import { bytes } from "@/features/format/bytes";
import { useTreeSnapshot } from "@/features/tree/useTree";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { IconButton } from "@/ui/IconButton";
import { Message } from "@/ui/Message";
import { Spinner } from "@/ui/Spinner";
import { hexLines, looksLikeText } from "./hex";
import { LoadFailed } from "./LoadFailed";
import styles from "./Editing.module.css";

const PART = 64 * 1024;

interface HexFileProps {
  path: string;
  onImage?: (() => void) | undefined;
}

/** A large or binary file, read-only, one part at a time. */
export function HexFile({ path, onImage }: HexFileProps) {
  const ws = useWorkspace();
  const [start, setStart] = useState(0);
  useTreeSnapshot();
  const size = ws.tree.find(path)?.size ?? 0;
  const query = useQuery({
    queryKey: ["part", ws.repl, path, start],
    queryFn: async ({ signal }) => {
      const blob = await readFile(ws.repl, path, {
        range: { start, end: start + PART - 1 },
        signal,
      });
      return new Uint8Array(await blob.slice(0, PART).arrayBuffer());
    },
    placeholderData: keepPreviousData,
    staleTime: 5_000,
  });
  if (query.isError) return <LoadFailed error={query.error} retry={() => void query.refetch()} />;
  if (query.data === undefined) return <Message icon={<Spinner size={18} />} title={t.loading} />;
  const text = looksLikeText(query.data);
  const end = start + query.data.length;
  const all = Math.max(size, end);
  const summary = (text ? t.editor.readOnlyLarge : t.editor.binary)(bytes(all));
  return (
    <div className={styles.blob}>
      <div className={styles.blobBar}>
        <span>{summary}</span>
        <span className={styles.blobActions}>
          {(start > 0 || end < all) && (
            <>
              <span className={styles.part}>
                {t.editor.chunk(bytes(start), bytes(end), bytes(all))}
              </span>
              <IconButton
                size="small"
                label={t.editor.previousPart}
                disabled={start === 0}
                onClick={() => setStart(Math.max(0, start - PART))}
              >
                <ChevronLeft size={15} />
              </IconButton>
              <IconButton
                size="small"
                label={t.editor.nextPart}
                disabled={end >= all}
                onClick={() => setStart(end)}
              >
                <ChevronRight size={15} />
              </IconButton>
            </>
          )}
          {onImage !== undefined && (
            <Button size="small" onClick={onImage}>
              {t.editor.asImage}
            </Button>
          )}
          <Button
            size="small"
            icon={<Download size={13} />}
            onClick={() => download(fileUrl(ws.repl, path))}
          >
            {t.editor.download}
          </Button>
        </span>
      </div>
      {text ? <TextPart data={query.data} /> : <HexPart data={query.data} start={start} />}
    </div>
  );
}

function TextPart({ data }: { data: Uint8Array }) {
  const text = useMemo(() => new TextDecoder().decode(data), [data]);
  return (
    <pre className={styles.bytes} tabIndex={0} aria-label={t.editor.hexLabel}>
      {text}
    </pre>
  );
}

function HexPart({ data, start }: { data: Uint8Array; start: number }) {
  const lines = useMemo(() => hexLines(data, start), [data, start]);
  return (
    <pre className={styles.bytes} tabIndex={0} aria-label={t.editor.hexLabel}>
      {lines.map(({ offset, hex, text }) => (
        <span key={offset} className={styles.hexLine}>
          <span className={styles.offset}>{offset}</span>
          <span>{hex}</span>
          <span className={styles.ascii}>{text}</span>
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
