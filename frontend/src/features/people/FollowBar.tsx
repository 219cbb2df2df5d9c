import { useEffect } from "react";
import { openById } from "@/features/files/actions";
import { useRepl, useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import styles from "./People.module.css";

/** Says who is followed, and goes where they go. */
export function FollowBar() {
  const ws = useWorkspace();
  const following = useRepl((snapshot) => snapshot.following);
  const person = useRepl(({ presence }) => presence.find(({ member }) => member === following));
  const file = useRepl(
    ({ presence }) =>
      presence.find((one) => one.member === following && one.file !== null)?.file ?? null,
  );
  useEffect(() => {
    if (file === null) return;
    openById(ws, file);
  }, [ws, file, following]);
  if (person === undefined) return null;
  return (
    <div className={styles.follow} style={{ borderColor: person.colour }} role="status">
      {t.people.following(person.name)}
      <Button size="small" variant="ghost" onClick={() => ws.page.follow(null)}>
        {t.people.stop}
      </Button>
    </div>
  );
}
