import { Eye } from "lucide-react";
import { useMemo } from "react";
import type { PersonInfo } from "@/gen/api";
import { baseName } from "@/features/tree/names";
import { useRepl, useWorkspace } from "@/features/workspace/useWorkspace";
import type { Workspace } from "@/features/workspace/workspace";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { IconButton } from "@/ui/IconButton";
import { Menu } from "@/ui/Menu";
import styles from "./People.module.css";

const NOBODY: PersonInfo[] = [];

/** Follows a member, or stops. */
function follow(ws: Workspace, member: string): void {
  const { following } = ws.page.getSnapshot();
  ws.page.follow(following === member ? null : member);
}

/** Who is here; a click follows. */
export function People({ most }: { most: number }) {
  const ws = useWorkspace();
  const people = useRepl(({ live }) => live?.people) ?? NOBODY;
  const following = useRepl((snapshot) => snapshot.following);
  const me = ws.page.me.member;
  const others = useMemo(() => people.filter(({ member }) => member !== me), [people, me]);
  if (others.length === 0) return null;
  const rest = others.slice(most);
  return (
    <ul className={styles.people} aria-label={t.people.label}>
      {others.slice(0, most).map((person) => (
        <li key={person.member}>
          <PersonButton
            person={person}
            followed={following === person.member}
            onFollow={() => follow(ws, person.member)}
          />
        </li>
      ))}
      {rest.length > 0 && (
        <li>
          <Menu
            align="end"
            items={rest.map((person) => ({
              label: person.name,
              icon: <Avatar name={person.name} colour={person.colour} size={16} />,
              checked: following === person.member,
              onSelect: () => follow(ws, person.member),
            }))}
          >
            <IconButton label={t.people.count(others.length)} className={styles.more}>
              +{rest.length}
            </IconButton>
          </Menu>
        </li>
      )}
    </ul>
  );
}

interface PersonButtonProps {
  person: PersonInfo;
  followed: boolean;
  onFollow: () => void;
}

function PersonButton({ person, followed, onFollow }: PersonButtonProps) {
  const ws = useWorkspace();
  const presence = useRepl((snapshot) => snapshot.presence);
  const file = presence.find((one) => one.member === person.member && one.file !== null)?.file;
  const path =
    file === undefined || file === null ? undefined : ws.tree.getSnapshot().paths.get(file);
  const label = followed ? t.people.unfollow(person.name) : t.people.follow(person.name);
  const where = path === undefined ? "" : ` (${t.people.editing(baseName(path))})`;
  return (
    <IconButton
      label={`${label}${where}`}
      pressed={followed}
      className={styles.person}
      onClick={onFollow}
    >
      <span className={styles.face}>
        <Avatar name={person.name} colour={person.colour} size={26} ringed={followed} />
        {person.role === "viewer" && (
          <span className={styles.viewer}>
            <Eye size={9} />
          </span>
        )}
      </span>
    </IconButton>
  );
}
