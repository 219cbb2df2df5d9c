import type { ReplInfo } from "@/gen/api";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { useCreateRepl, useTemplates } from "./repls";
import { TemplateCard } from "./TemplateCard";
import styles from "./Home.module.css";

const FAVOURITES = ["python", "node", "static", "typescript", "go", "bash"];

interface EmptyHomeProps {
  onMore: () => void;
  onCreated: (repl: ReplInfo) => void;
}

/** The first visit: three templates, one click each. */
export function EmptyHome({ onMore, onCreated }: EmptyHomeProps) {
  const templates = useTemplates();
  const create = useCreateRepl(onCreated);
  const rank = (name: string) => {
    const at = FAVOURITES.indexOf(name);
    return at < 0 ? FAVOURITES.length : at;
  };
  const three = (templates.data ?? [])
    .filter((template) => template.available)
    .sort((a, b) => rank(a.name) - rank(b.name))
    .slice(0, 3);
  return (
    <section className={styles.empty}>
      <h1 className={styles.emptyTitle}>{t.home.emptyTitle}</h1>
      <p className={styles.emptyBody}>{t.home.emptyBody}</p>
      <ul className={styles.emptyThree}>
        {three.map((template) => (
          <li key={template.name}>
            <TemplateCard
              template={template}
              busy={create.isPending && create.variables.template === template.name}
              onPick={({ name }) => !create.isPending && create.mutate({ template: name })}
            />
          </li>
        ))}
      </ul>
      <Button onClick={onMore}>{t.home.emptyMore}</Button>
    </section>
  );
}
