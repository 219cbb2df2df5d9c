/** The share links of a repl. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { createLink, deleteLink, listLinks } from "@/api/client";
import type { CreateLink, LinkId, ReplId } from "@/gen/api";
import { t } from "@/strings/en";
import { complain, say } from "@/ui/Toaster";

const linksKey = (repl: ReplId) => ["links", repl];

export function useLinks(repl: ReplId, enabled: boolean) {
  return useQuery({
    queryKey: linksKey(repl),
    queryFn: ({ signal }) => listLinks(repl, signal),
    enabled,
  });
}

export function useCreateLink(repl: ReplId) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (role: CreateLink["role"]) => createLink(repl, role),
    onSuccess: () => client.invalidateQueries({ queryKey: linksKey(repl) }),
    onError: (error) => complain(t.share.failed, error.message),
  });
}

export function useRevokeLink(repl: ReplId) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (link: LinkId) => deleteLink(repl, link),
    onSuccess: () => {
      say(t.share.revoked);
      return client.invalidateQueries({ queryKey: linksKey(repl) });
    },
    onError: (error) => complain(t.share.revokeFailed, error.message),
  });
}
