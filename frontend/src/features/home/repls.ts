/** The list of repls and what can be done to one. */
import { useMutation, useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import {
  createRepl,
  deleteRepl,
  forkRepl,
  listDeletedRepls,
  listRepls,
  listTemplates,
  renameRepl,
  restoreRepl,
} from "@/api/client";
import type { CreateRepl, ReplId, ReplInfo } from "@/gen/api";
import { t } from "@/strings/en";
import { complain, say } from "@/ui/Toaster";

const REPLS_KEY = ["repls"];
const DELETED_KEY = ["repls", "deleted"];
export const replKey = (repl: ReplId) => ["repl", repl];

export function useRepls() {
  return useQuery({
    queryKey: REPLS_KEY,
    queryFn: ({ signal }) => listRepls(signal),
    refetchInterval: 10_000,
  });
}

export function useTemplates() {
  return useQuery({
    queryKey: ["templates"],
    queryFn: ({ signal }) => listTemplates(signal),
    staleTime: 30_000,
  });
}

function change(client: QueryClient, edit: (list: ReplInfo[]) => ReplInfo[]): void {
  client.setQueryData<ReplInfo[]>(REPLS_KEY, (list) => (list === undefined ? list : edit(list)));
}

export function useCreateRepl(onCreated: (repl: ReplInfo) => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (request: CreateRepl) => createRepl(request),
    onSuccess: (repl) => {
      client.setQueryData(replKey(repl.id), repl);
      change(client, (list) => [repl, ...list]);
      onCreated(repl);
    },
    onError: (error) => complain(t.home.createFailed, error.message),
  });
}

export function useRenameRepl() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ repl, name }: { repl: ReplId; name: string }) => renameRepl(repl, name),
    onSuccess: (repl) => {
      client.setQueryData(replKey(repl.id), repl);
      change(client, (list) => list.map((one) => (one.id === repl.id ? repl : one)));
    },
    onError: (error) => complain(t.home.renameFailed, error.message),
  });
}

export function useForkRepl(onForked: (repl: ReplInfo) => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (repl: ReplId) => forkRepl(repl),
    onSuccess: (repl) => {
      change(client, (list) => [repl, ...list]);
      onForked(repl);
    },
    onError: (error) => complain(t.home.forkFailed, error.message),
  });
}

export function useDeletedRepls(enabled: boolean) {
  return useQuery({
    queryKey: DELETED_KEY,
    queryFn: ({ signal }) => listDeletedRepls(signal),
    enabled,
  });
}

/** Brings a deleted repl back. */
export function useRestoreRepl() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (repl: ReplInfo) => restoreRepl(repl.id),
    onSuccess: (restored) => {
      say(t.home.restored(restored.name));
      void client.invalidateQueries({ queryKey: REPLS_KEY });
      void client.invalidateQueries({ queryKey: DELETED_KEY });
    },
    onError: (error) => complain(t.home.restoreFailed, error.message),
  });
}

/** Deletes at once and offers to take it back. */
export function useDeleteRepl() {
  const client = useQueryClient();
  const restore = useRestoreRepl();
  return useMutation({
    mutationFn: (repl: ReplInfo) => deleteRepl(repl.id),
    onMutate: (repl) => change(client, (list) => list.filter((one) => one.id !== repl.id)),
    onSuccess: (_, repl) => {
      void client.invalidateQueries({ queryKey: DELETED_KEY });
      say(t.home.deleted(repl.name), { label: t.undo, run: () => restore.mutate(repl) });
    },
    onError: (error) => {
      complain(t.home.deleteFailed, error.message);
      void client.invalidateQueries({ queryKey: REPLS_KEY });
    },
  });
}
