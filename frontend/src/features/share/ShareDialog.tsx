import { Check, Copy, Eye, Link2, PencilLine } from "lucide-react";
import { useState } from "react";
import type { LinkCreated, LinkInfo } from "@/gen/api";
import { relativeTime } from "@/features/format/time";
import { useNow } from "@/features/format/useNow";
import { useRole, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { copyText } from "@/ui/copy";
import { Dialog } from "@/ui/Dialog";
import { Segmented } from "@/ui/Segmented";
import { Skeleton } from "@/ui/Skeleton";
import { useCreateLink, useLinks, useRevokeLink } from "./links";
import styles from "./Share.module.css";

/** Makes, copies, lists and revokes links. */
export function ShareDialog({ onClose }: { onClose: () => void }) {
  const ws = useWorkspace();
  const owner = useRole() === "owner";
  const links = useLinks(ws.repl, owner);
  return (
    <Dialog
      open
      onClose={onClose}
      title={t.share.title}
      description={owner ? t.share.description : t.share.guests}
      closeLabel={t.close}
    >
      {owner && (
        <div className={styles.share}>
          <NewLink />
          <section className={styles.links}>
            <h3 className={styles.heading}>{t.share.active}</h3>
            {links.isPending && <Skeleton height={32} />}
            {links.isError && <p className={styles.note}>{t.share.loadFailed}</p>}
            {links.data?.length === 0 && <p className={styles.note}>{t.share.none}</p>}
            <ul>
              {links.data?.map((link) => (
                <LinkRow key={link.id} link={link} />
              ))}
            </ul>
          </section>
          <p className={styles.note}>{t.share.previewNote}</p>
        </div>
      )}
    </Dialog>
  );
}

type LinkRole = "editor" | "viewer";

function NewLink() {
  const ws = useWorkspace();
  const [role, setRole] = useState<LinkRole>("editor");
  const [made, setMade] = useState<LinkCreated | null>(null);
  const [copied, setCopied] = useState(false);
  const create = useCreateLink(ws.repl);
  const copy = async (url: string) => setCopied(await copyText(url));
  return (
    <section className={styles.create}>
      <div className={styles.row}>
        <Segmented<LinkRole>
          label={t.share.create}
          value={role}
          options={[
            { value: "editor", label: t.share.editor, icon: <PencilLine size={13} /> },
            { value: "viewer", label: t.share.viewer, icon: <Eye size={13} /> },
          ]}
          onChange={(next) => {
            setRole(next);
            setMade(null);
          }}
        />
        <span className={styles.note}>
          {role === "editor" ? t.share.editorBody : t.share.viewerBody}
        </span>
        <Button
          variant="primary"
          icon={<Link2 size={14} />}
          busy={create.isPending}
          onClick={() =>
            create.mutate(role, {
              onSuccess: (link) => {
                setMade(link);
                void copy(link.url);
              },
            })
          }
        >
          {t.share.create}
        </Button>
      </div>
      {made !== null && (
        <div className={styles.made}>
          <div className={styles.row}>
            <input
              className={styles.url}
              readOnly
              aria-label={t.share.copyLink}
              value={made.url}
              onFocus={(event) => event.target.select()}
            />
            <Button
              icon={copied ? <Check size={14} /> : <Copy size={14} />}
              onClick={() => void copy(made.url)}
            >
              {copied ? t.copied : t.copy}
            </Button>
          </div>
          <p className={styles.note} role="status">
            {copied ? `${t.share.created}. ${t.share.onlyOnce}` : t.share.createdNotCopied}
          </p>
        </div>
      )}
    </section>
  );
}

function LinkRow({ link }: { link: LinkInfo }) {
  const ws = useWorkspace();
  const revoke = useRevokeLink(ws.repl);
  const now = useNow(30_000, true);
  const editor = link.role === "editor";
  return (
    <li className={styles.link}>
      {editor ? <PencilLine size={14} aria-hidden /> : <Eye size={14} aria-hidden />}
      <span className={styles.linkRole}>{editor ? t.share.editor : t.share.viewer}</span>
      <span className={styles.note}>{t.share.madeAt(relativeTime(link.created_ms, now))}</span>
      <Button
        size="small"
        className={styles.revoke}
        busy={revoke.isPending}
        onClick={() => revoke.mutate(link.id)}
      >
        {t.share.revoke}
      </Button>
    </li>
  );
}
