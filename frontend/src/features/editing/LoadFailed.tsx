import { FileX2 } from "lucide-react";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Message } from "@/ui/Message";

/** A file's bytes did not come. */
export function LoadFailed({ error, retry }: { error: Error; retry: () => void }) {
  return (
    <Message
      icon={<FileX2 size={28} />}
      title={t.editor.lost}
      action={<Button onClick={retry}>{t.retry}</Button>}
    >
      {error.message}
    </Message>
  );
}
