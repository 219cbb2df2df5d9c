import { useRef, type KeyboardEvent, type PointerEvent } from "react";
import styles from "./Divider.module.css";

interface DividerProps {
  label: string;
  /** `vertical` is a line between left and right. */
  orientation: "vertical" | "horizontal";
  /** Size of the pane it governs, in pixels. */
  size: number;
  min: number;
  max: number;
  /** 1 when dragging right or down makes the pane larger, −1 otherwise. */
  direction: 1 | -1;
  onResize: (size: number) => void;
  onReset: () => void;
}

const KEY_STEP = 24;

/** A line between two panes: drag, arrow keys, double-click to reset. */
export function Divider(props: DividerProps) {
  const { label, orientation, size, min, max, direction, onResize, onReset } = props;
  const drag = useRef<{ at: number; size: number } | null>(null);
  const place = (event: PointerEvent) =>
    orientation === "vertical" ? event.clientX : event.clientY;
  const resize = (next: number) => onResize(Math.round(Math.min(max, Math.max(min, next))));

  const onKeyDown = (event: KeyboardEvent) => {
    const [less, more] =
      orientation === "vertical" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
    if (event.key === "Enter") onReset();
    else if (event.key === less) resize(size - KEY_STEP * direction);
    else if (event.key === more) resize(size + KEY_STEP * direction);
    else return;
    event.preventDefault();
  };

  return (
    <div
      role="separator"
      tabIndex={0}
      aria-label={label}
      aria-orientation={orientation}
      aria-valuenow={size}
      aria-valuemin={min}
      aria-valuemax={max}
      className={styles.divider}
      data-orientation={orientation}
      onKeyDown={onKeyDown}
      onDoubleClick={onReset}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drag.current = { at: place(event), size };
        event.preventDefault();
      }}
      onPointerMove={(event) => {
        const start = drag.current;
        if (start !== null) resize(start.size + (place(event) - start.at) * direction);
      }}
      onLostPointerCapture={() => {
        drag.current = null;
      }}
    />
  );
}
