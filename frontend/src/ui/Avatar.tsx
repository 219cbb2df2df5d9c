import { classes } from "./classes";
import { initials, inkOn } from "./initials";
import styles from "./Avatar.module.css";

interface AvatarProps {
  name: string;
  colour: string;
  size?: number;
  /** A ring that says: this one is being followed. */
  ringed?: boolean;
}

/** A person as two letters on their colour. Purely visual: name the control around it. */
export function Avatar({ name, colour, size = 24, ringed = false }: AvatarProps) {
  return (
    <span
      className={classes(styles.avatar, ringed && styles.ringed)}
      style={{
        width: size,
        height: size,
        fontSize: Math.round(size * 0.42),
        background: colour,
        color: inkOn(colour),
      }}
      aria-hidden
    >
      {initials(name)}
    </span>
  );
}
