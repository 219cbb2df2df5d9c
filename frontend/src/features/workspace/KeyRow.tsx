import { ArrowDown, ArrowLeft, ArrowRight, ArrowUp } from "lucide-react";
import { useState, type ReactNode } from "react";
import { terminalLook } from "@/features/panel/look";
import { t } from "@/strings/en";
import { controlCharacter, KEY_SEQUENCES, type SoftKey } from "./softKeys";
import { useEditorState, useLive, useSurface, useWorkspace } from "./useWorkspace";
import styles from "./Mobile.module.css";

const keys: { key: SoftKey; face: ReactNode; label: string }[] = [
  { key: "Escape", face: "Esc", label: "Escape" },
  { key: "Tab", face: "Tab", label: "Tab" },
  { key: "ArrowLeft", face: <ArrowLeft size={16} />, label: "Left" },
  { key: "ArrowDown", face: <ArrowDown size={16} />, label: "Down" },
  { key: "ArrowUp", face: <ArrowUp size={16} />, label: "Up" },
  { key: "ArrowRight", face: <ArrowRight size={16} />, label: "Right" },
];

/** Keys that a phone's keyboard lacks. */
export function KeyRow({ pane }: { pane: "editor" | "terminal" }) {
  const ws = useWorkspace();
  const [held, setHeld] = useState(false);
  const shell = useSurface((surface) => surface.terminal);
  const console_ = useLive((live) => live.run?.terminal ?? null);
  const editor = useEditorState((state) => state.editor);
  const terminal = shell ?? console_;

  const send = (text: string) => {
    if (terminal === null) return;
    void ws.terminals.get(terminal, terminalLook()).then((one) => {
      one.send(text);
      one.focus();
    });
  };
  const press = (key: SoftKey) => {
    if (pane === "terminal") send(KEY_SEQUENCES[key]);
    else {
      // The editor listens to key events like any other; it does not ask where they come from.
      const target = document.querySelector("[data-active] .cm-content");
      target?.dispatchEvent(
        new KeyboardEvent("keydown", { key, ctrlKey: held, bubbles: true, cancelable: true }),
      );
      editor?.focus();
    }
    setHeld(false);
  };
  return (
    <div className={styles.keys} role="toolbar" aria-label={t.settings.keys}>
      {keys.map(({ key, face, label }) => (
        <button
          key={key}
          type="button"
          className={styles.key}
          aria-label={label}
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => press(key)}
        >
          {face}
        </button>
      ))}
      {pane === "terminal" &&
        ["C", "D", "L", "R"].map((letter) => (
          <button
            key={letter}
            type="button"
            className={styles.key}
            onPointerDown={(event) => event.preventDefault()}
            onClick={() => send(controlCharacter(letter))}
          >
            ^{letter}
          </button>
        ))}
      {pane === "editor" && (
        <button
          type="button"
          className={styles.key}
          aria-pressed={held}
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => setHeld(!held)}
        >
          Ctrl
        </button>
      )}
    </div>
  );
}
