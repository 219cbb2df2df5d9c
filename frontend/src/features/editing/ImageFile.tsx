import { useQuery } from "@tanstack/react-query";
import { ImageOff } from "lucide-react";
import { useState } from "react";
import { readFile } from "@/api/client";
import { bytes } from "@/features/format/bytes";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";
import { Segmented } from "@/ui/Segmented";
import { Spinner } from "@/ui/Spinner";
import { useHeld } from "@/ui/useHeld";
import { LoadFailed } from "./LoadFailed";
import { imageType } from "./imageType";
import styles from "./Editing.module.css";

/** A picture, drawn from a blob address: files are never active on the site's own origin. */
export function ImageFile({ path, onHex }: { path: string; onHex: () => void }) {
  const { repl } = useWorkspace();
  const query = useQuery({
    queryKey: ["blob", repl, path],
    queryFn: ({ signal }) => readFile(repl, path, { signal }),
    staleTime: 5_000,
  });
  if (query.isError) return <LoadFailed error={query.error} retry={() => void query.refetch()} />;
  if (query.data === undefined) return <Message icon={<Spinner size={18} />} title={t.loading} />;
  return <Picture key={query.dataUpdatedAt} blob={query.data} path={path} onHex={onHex} />;
}

interface PictureProps {
  blob: Blob;
  path: string;
  onHex: () => void;
}

function Picture({ blob, path, onHex }: PictureProps) {
  const [size, setSize] = useState<{ width: number; height: number } | null>(null);
  const [broken, setBroken] = useState(false);
  const [fit, setFit] = useState<"fit" | "actual">("fit");
  const address = useHeld(
    {
      make: () => URL.createObjectURL(new Blob([blob], { type: imageType(path) })),
      release: (made) => URL.revokeObjectURL(made),
    },
    path,
  );
  return (
    <div className={styles.blob}>
      <div className={styles.blobBar}>
        <span>
          {size === null
            ? bytes(blob.size)
            : t.editor.image(size.width, size.height, bytes(blob.size))}
        </span>
        <span className={styles.blobActions}>
          <Segmented
            label={t.preview.width}
            value={fit}
            options={[
              { value: "fit", label: t.editor.fit },
              { value: "actual", label: t.editor.actualSize },
            ]}
            onChange={setFit}
          />
          <Button size="small" onClick={onHex}>
            {t.editor.asHex}
          </Button>
        </span>
      </div>
      {broken ? (
        <Message icon={<ImageOff size={28} />} title={t.editor.imageBroken} />
      ) : (
        <div className={styles.canvas} data-fit={fit}>
          {address !== null && (
            <img
              src={address}
              alt={path}
              onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) =>
                setSize({ width: naturalWidth, height: naturalHeight })
              }
              onError={() => setBroken(true)}
            />
          )}
        </div>
      )}
    </div>
  );
}
