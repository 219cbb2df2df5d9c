import { Minus, Plus } from "lucide-react";
import { IconButton } from "./IconButton";
import styles from "./Stepper.module.css";

interface StepperProps {
  label: string;
  value: number;
  min: number;
  max: number;
  lessLabel: string;
  moreLabel: string;
  onChange: (value: number) => void;
}

/** A small number set by steps of one. */
export function Stepper(props: StepperProps) {
  const { label, value, min, max, lessLabel, moreLabel, onChange } = props;
  return (
    <div className={styles.row} role="group" aria-label={label}>
      <span>{label}</span>
      <span className={styles.control}>
        <IconButton
          size="small"
          label={lessLabel}
          disabled={value <= min}
          onClick={() => onChange(value - 1)}
        >
          <Minus size={13} />
        </IconButton>
        <output className={styles.value}>{value}</output>
        <IconButton
          size="small"
          label={moreLabel}
          disabled={value >= max}
          onClick={() => onChange(value + 1)}
        >
          <Plus size={13} />
        </IconButton>
      </span>
    </div>
  );
}
