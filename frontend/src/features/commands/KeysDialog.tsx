import { t } from "@/strings/en";
import { Dialog } from "@/ui/Dialog";
import { Keys } from "@/ui/Keys";
import { COMMANDS, type CommandGroup } from "./commands";
import styles from "./Keys.module.css";

type Rows = [label: string, chord: string][];

const r = t.keys.rows;
const editing: Rows = [
  [r.undo, "Mod+Z"],
  [r.find, "Mod+F"],
  [r.comment, "Mod+/"],
  [r.multi, "Mod+D"],
  [r.moveLine, "Alt+Up"],
  [r.saved, "Mod+S"],
  [r.tabMode, "Ctrl+M"],
];
const inTerminal: Rows = [
  [r.copy, "Mod+Shift+C"],
  [r.paste, "Mod+Shift+V"],
  [r.leave, "F6"],
];
const inTree: Rows = [
  [r.treeRename, "F2"],
  [r.treeDelete, "Delete"],
  [r.treeOpen, "Enter"],
  [r.treeMenu, "Shift+F10"],
];

function ofGroup(group: CommandGroup): Rows {
  return COMMANDS.filter((command) => command.group === group).flatMap(({ title, keys }) =>
    keys?.[0] === undefined ? [] : [[title, keys[0]]],
  );
}

const g = t.palette.groups;
const sections: [title: string, rows: Rows][] = [
  [g.file, ofGroup("file")],
  [g.view, ofGroup("view")],
  [g.run, ofGroup("run")],
  [t.keys.editing, [...ofGroup("edit"), ...editing]],
  [t.keys.inTree, inTree],
  [t.keys.inTerminal, inTerminal],
  [g.help, ofGroup("help")],
];

/** All keys in one list. */
export function KeysDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog open onClose={onClose} title={t.keys.title} closeLabel={t.close} width="wide">
      <div className={styles.columns}>
        {sections.map(([title, rows]) => (
          <section key={title} className={styles.section}>
            <h3 className={styles.title}>{title}</h3>
            <dl>
              {rows.map(([label, chord]) => (
                <div key={label} className={styles.row}>
                  <dt>{label}</dt>
                  <dd>
                    <Keys chord={chord} />
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
