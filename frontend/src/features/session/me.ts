/** Who this browser is. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getMe, updateMe } from "@/api/client";
import { ProblemError } from "@/api/problem";
import type { Me, UpdateMe } from "@/gen/api";

export const ME_KEY = ["me"];

export type SessionState =
  | { state: "loading" }
  | { state: "none" }
  | { state: "away"; retry: () => void }
  | { state: "in"; me: Me };

/** Whether this browser is signed in, and as whom. */
export function useSession(): SessionState {
  const query = useQuery({
    queryKey: ME_KEY,
    queryFn: ({ signal }) => getMe(signal),
    retry: false,
    staleTime: Infinity,
    refetchInterval: ({ state }) =>
      state.error !== null && !isSignedOut(state.error) ? 3000 : false,
  });
  if (query.data !== undefined) return { state: "in", me: query.data };
  if (query.error === null) return { state: "loading" };
  if (isSignedOut(query.error)) return { state: "none" };
  return { state: "away", retry: () => void query.refetch() };
}

function isSignedOut(error: Error): boolean {
  return error instanceof ProblemError && (error.status === 401 || error.status === 403);
}

/** Changes the person's name or colour. */
export function useUpdateMe() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: UpdateMe) => updateMe(change),
    onSuccess: (me) => client.setQueryData(ME_KEY, me),
  });
}
