import { useEffect, useState } from "react";

interface Held<T> {
  make: () => T;
  release: (held: T) => void;
}

/**
 * Something that lives outside of React and must be given back, such as a connection: made after
 * the component appears, made anew when `key` changes, given back when it goes. Null until made.
 */
export function useHeld<T>({ make, release }: Held<T>, key: string): T | null {
  const [held, setHeld] = useState<T | null>(null);
  useEffect(() => {
    const made = make();
    // The thing exists only from here on, so the first drawing had to do without it.
    setHeld(made);
    return () => {
      setHeld(null);
      release(made);
    };
    // Only the key says that another thing is wanted.
  }, [key]);
  return held;
}
