import { Command } from "cmdk";
import * as Radix from "@radix-ui/react-dialog";
import { useState, type ReactNode } from "react";
import { Keys } from "./Keys";
import styles from "./Picker.module.css";

export interface PickerItem {
  id: string;
  label: string;
  /** Said in a fainter voice after the label. */
  detail?: string;
  icon?: ReactNode;
  keys?: string | undefined;
  group?: string;
}

interface PickerProps {
  title: string;
  placeholder: string;
  items: PickerItem[];
  /** Shown when nothing matches. */
  empty: string;
  /** Something is still on its way. */
  busy?: string | undefined;
  /** Items that depend on what is typed; they are not filtered. */
  typed?: (query: string) => PickerItem[];
  /** How well an item fits, 0–1. */
  score?: (item: PickerItem, query: string) => number;
  onPick: (id: string) => void;
  onClose: () => void;
}

const MAX_SHOWN = 100;

/** A field over the page that narrows a list down to one choice. */
export function Picker(props: PickerProps) {
  const { title, placeholder, items, empty, busy, typed, score, onPick, onClose } = props;
  const [query, setQuery] = useState("");
  const dynamic = typed?.(query) ?? [];
  const shown =
    dynamic.length > 0 || query.trim() === ""
      ? [...dynamic, ...items]
      : rank(items, query, score ?? wordScore);
  const groups = new Map<string, PickerItem[]>();
  for (const item of shown.slice(0, MAX_SHOWN)) {
    const key = query.trim() === "" ? (item.group ?? "") : "";
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return (
    <Radix.Root open onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content className={styles.content} aria-describedby={undefined}>
          <Radix.Title className="visually-hidden">{title}</Radix.Title>
          <Command label={title} shouldFilter={false} loop>
            <Command.Input
              className={styles.input}
              placeholder={placeholder}
              value={query}
              onValueChange={setQuery}
            />
            <Command.List className={styles.list}>
              <Command.Empty className={styles.empty}>{busy ?? empty}</Command.Empty>
              {[...groups].map(([group, members]) => (
                <Command.Group key={group} heading={group === "" ? undefined : group}>
                  {members.map((item) => (
                    <Command.Item
                      key={item.id}
                      value={item.id}
                      className={styles.item}
                      onSelect={() => {
                        onClose();
                        onPick(item.id);
                      }}
                    >
                      {item.icon}
                      <span className={styles.label}>{item.label}</span>
                      {item.detail !== undefined && (
                        <span className={styles.detail}>{item.detail}</span>
                      )}
                      {item.keys !== undefined && (
                        <Keys chord={item.keys} className={styles.keys} />
                      )}
                    </Command.Item>
                  ))}
                </Command.Group>
              ))}
            </Command.List>
          </Command>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

function rank(
  items: PickerItem[],
  query: string,
  score: (item: PickerItem, query: string) => number,
): PickerItem[] {
  return items
    .map((item) => ({ item, fit: score(item, query) }))
    .filter(({ fit }) => fit > 0)
    .sort((a, b) => b.fit - a.fit)
    .map(({ item }) => item);
}

function wordScore(item: PickerItem, query: string): number {
  const label = item.label.toLocaleLowerCase();
  const words = query.toLocaleLowerCase().trim().split(/\s+/);
  if (!words.every((word) => label.includes(word))) return 0;
  return label.startsWith(words[0] ?? "") ? 1 : 0.5;
}
