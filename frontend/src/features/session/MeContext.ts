import { createContext, useContext } from "react";
import type { Me } from "@/gen/api";

export const MeContext = createContext<Me | null>(null);

/** Who this browser is, below the sign-in gate. */
export function useMe(): Me {
  const me = useContext(MeContext);
  if (me === null) throw new Error("used outside of the sign-in gate");
  return me;
}
