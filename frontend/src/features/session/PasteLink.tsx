import { useState, type FormEvent } from "react";
import { tokenInFragment } from "@/api/start";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/TextField";
import styles from "./Gate.module.css";

/** A way in for whoever has the link but not the click. */
export function PasteLink() {
  const [text, setText] = useState("");
  const [error, setError] = useState<string>();
  const open = (event: FormEvent) => {
    event.preventDefault();
    const fragment = text.includes("#") ? text.slice(text.indexOf("#")) : text;
    const token = tokenInFragment(fragment.trim());
    if (token === null) {
      setError(t.gate.pasteNoToken);
      return;
    }
    window.location.hash = `token=${encodeURIComponent(token)}`;
    window.location.reload();
  };
  return (
    <form className={styles.paste} onSubmit={open}>
      <TextField
        label={t.gate.pasteLabel}
        hideLabel
        placeholder={t.gate.pastePlaceholder}
        value={text}
        error={error}
        onChange={(event) => {
          setText(event.target.value);
          setError(undefined);
        }}
      />
      <Button type="submit" variant="primary" className={styles.pasteButton}>
        {t.gate.pasteButton}
      </Button>
    </form>
  );
}
