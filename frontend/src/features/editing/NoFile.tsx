import { Code } from "lucide-react";
import { t } from "@/strings/en";
import { Keys } from "@/ui/Keys";
import { Message } from "@/ui/Message";
import styles from "./Editing.module.css";

const hints: [string, string][] = [
  [t.commands.quickOpen, "Mod+P"],
  [t.commands.palette, "Mod+Shift+P"],
  [t.commands.run, "Mod+Enter"],
  [t.commands.terminal, "Mod+`"],
];

/** The editor area without a file: the keys worth knowing. */
export function NoFile() {
  return (
    <Message icon={<Code size={28} strokeWidth={1.5} />} title={t.editor.emptyTitle}>
      <dl className={styles.hints}>
        {hints.map(([label, chord]) => (
          <div key={chord}>
            <dt>{label}</dt>
            <dd>
              <Keys chord={chord} />
            </dd>
          </div>
        ))}
      </dl>
    </Message>
  );
}
