import type { TemplateInfo } from "@/gen/api";
import { LanguageBadge } from "@/features/languages/LanguageBadge";
import { t } from "@/strings/en";
import { Spinner } from "@/ui/Spinner";
import styles from "./TemplateCard.module.css";

interface TemplateCardProps {
  template: TemplateInfo;
  busy: boolean;
  onPick: (template: TemplateInfo) => void;
}

/** One template to start from; an unavailable one says why. */
export function TemplateCard({ template, busy, onPick }: TemplateCardProps) {
  return (
    <button
      type="button"
      className={styles.card}
      aria-disabled={!template.available || busy || undefined}
      aria-busy={busy || undefined}
      onClick={() => template.available && !busy && onPick(template)}
    >
      <LanguageBadge language={template.language} size={32} />
      <span className={styles.text}>
        <span className={styles.title}>
          {template.title}
          {busy && <Spinner size={12} />}
        </span>
        {template.available ? (
          <span className={styles.description}>{template.description}</span>
        ) : (
          <span className={styles.reason}>
            {template.unavailable_reason ?? t.templates.unavailable}
          </span>
        )}
      </span>
    </button>
  );
}
