import { useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";
import styles from "./InlineInput.module.css";

interface InlineInputProps {
  label: string;
  initial?: string;
  /** How many characters of the initial text are selected at first. */
  select?: number;
  /** What is wrong with a text, or null. */
  check: (text: string) => string | null;
  /** Enter, or the focus going elsewhere with a good text. */
  onDone: (text: string) => void;
  onCancel: () => void;
}

/** A name typed in place: Enter takes it, Escape leaves it. */
export function InlineInput(props: InlineInputProps) {
  const { label, initial = "", select = initial.length, check, onDone, onCancel } = props;
  const [text, setText] = useState(initial);
  const [shown, setShown] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const finished = useRef(false);
  const fault = check(text);

  useLayoutEffect(() => {
    const take = () => {
      if (document.activeElement === input.current) return;
      input.current?.focus();
      input.current?.setSelectionRange(0, select);
    };
    take();
    // Once more after a menu has closed and put the focus back.
    const frame = requestAnimationFrame(take);
    return () => cancelAnimationFrame(frame);
  }, [select]);

  const finish = (take: boolean) => {
    if (finished.current) return;
    finished.current = true;
    if (take && text !== initial) onDone(text);
    else onCancel();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === "Escape") finish(false);
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (fault === null || text === initial) finish(true);
    else setShown(true);
  };
  return (
    <span className={styles.box}>
      <input
        ref={input}
        className={styles.input}
        aria-label={label}
        aria-invalid={(shown && fault !== null) || undefined}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setShown(event.target.value !== "");
        }}
        onKeyDown={onKeyDown}
        onClick={(event) => event.stopPropagation()}
        onBlur={() => finish(fault === null)}
      />
      {shown && fault !== null && text !== initial && (
        <span className={styles.fault} role="alert">
          {fault}
        </span>
      )}
    </span>
  );
}
