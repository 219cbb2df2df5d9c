import { Search } from "lucide-react";
import { useState } from "react";
import type { ReplInfo } from "@/gen/api";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Message } from "@/ui/Message";
import { Skeleton } from "@/ui/Skeleton";
import { TextField } from "@/ui/TextField";
import { useCreateRepl, useTemplates } from "./repls";
import { matches } from "./search";
import { TemplateCard } from "./TemplateCard";
import styles from "./Home.module.css";

interface NewReplDialogProps {
  onClose: () => void;
  onCreated: (repl: ReplInfo) => void;
}

/** The gallery of templates: a name if one likes, and one click. */
export function NewReplDialog({ onClose, onCreated }: NewReplDialogProps) {
  const [name, setName] = useState("");
  const [query, setQuery] = useState("");
  const templates = useTemplates();
  const create = useCreateRepl(onCreated);
  const picked = create.isPending ? create.variables.template : null;
  const shown = (templates.data ?? [])
    .filter((one) => matches(query, one.title, one.name, one.language, one.description))
    .sort((a, b) => Number(b.available) - Number(a.available));
  return (
    <Dialog
      open
      onClose={onClose}
      title={t.templates.title}
      description={picked === null ? t.templates.description : t.templates.creating}
      closeLabel={t.close}
      width="wide"
    >
      <div className={styles.gallerySearch}>
        <TextField
          label={t.templates.search}
          hideLabel
          autoFocus
          icon={<Search size={14} aria-hidden />}
          placeholder={t.templates.search}
          value={query}
          onChange={(event) => setQuery(event.target.value)}
        />
        <TextField
          label={t.templates.name}
          hideLabel
          maxLength={80}
          placeholder={t.templates.namePlaceholder}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
      </div>
      {templates.isError && (
        <Message
          title={t.templates.loadFailed}
          action={<Button onClick={() => void templates.refetch()}>{t.retry}</Button>}
        >
          {templates.error.message}
        </Message>
      )}
      <ul className={styles.gallery}>
        {templates.isPending &&
          Array.from({ length: 6 }, (_, index) => (
            <li key={index}>
              <Skeleton height={72} radius="var(--radius-2)" />
            </li>
          ))}
        {shown.map((template) => (
          <li key={template.name}>
            <TemplateCard
              template={template}
              busy={picked === template.name}
              onPick={({ name: chosen }) => {
                if (picked !== null) return;
                create.mutate({
                  template: chosen,
                  ...(name.trim() !== "" && { name: name.trim() }),
                });
              }}
            />
          </li>
        ))}
      </ul>
      {templates.isSuccess && shown.length === 0 && (
        <p className={styles.nothing}>{t.templates.none(query)}</p>
      )}
    </Dialog>
  );
}
