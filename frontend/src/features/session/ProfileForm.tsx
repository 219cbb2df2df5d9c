import { useState, type FormEvent } from "react";
import type { Me } from "@/gen/api";
import { t } from "@/strings/en";
import { Avatar } from "@/ui/Avatar";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/TextField";
import { complain } from "@/ui/Toaster";
import { COLOURS } from "./colours";
import { useUpdateMe } from "./me";
import styles from "./ProfileForm.module.css";

interface ProfileFormProps {
  me: Me;
  submit: string;
  onDone: (me: Me) => void;
}

/** Name and colour, with what they will look like. */
export function ProfileForm({ me, submit, onDone }: ProfileFormProps) {
  const [name, setName] = useState(me.unnamed ? "" : me.name);
  const [colour, setColour] = useState(me.colour);
  const [error, setError] = useState<string>();
  const update = useUpdateMe();
  const colours = COLOURS.includes(me.colour) ? COLOURS : [me.colour, ...COLOURS.slice(1)];
  const send = (event: FormEvent) => {
    event.preventDefault();
    const chosen = name.trim();
    if (chosen === "" || [...chosen].length > 40) {
      setError(t.profile.needName);
      return;
    }
    update.mutate(
      { name: chosen, colour },
      {
        onSuccess: onDone,
        onError: (failure) => complain(t.profile.failed, failure.message),
      },
    );
  };
  return (
    <form className={styles.form} onSubmit={send}>
      <div className={styles.row}>
        <Avatar name={name.trim() === "" ? me.name : name} colour={colour} size={48} />
        <TextField
          className={styles.name}
          label={t.profile.name}
          placeholder={t.profile.namePlaceholder}
          autoComplete="nickname"
          autoFocus
          maxLength={60}
          value={name}
          error={error}
          onChange={(event) => {
            setName(event.target.value);
            setError(undefined);
          }}
        />
      </div>
      <div className={styles.colours} role="radiogroup" aria-label={t.profile.colour}>
        {colours.map((option, index) => (
          <label key={option} className={styles.colour} style={{ background: option }}>
            <input
              type="radio"
              name="colour"
              className={styles.radio}
              aria-label={t.profile.colourOf(index + 1)}
              checked={option === colour}
              onChange={() => setColour(option)}
            />
          </label>
        ))}
      </div>
      <Button type="submit" variant="primary" size="large" busy={update.isPending}>
        {submit}
      </Button>
    </form>
  );
}
