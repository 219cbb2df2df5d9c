/** What the server knows of a file's past and of the repl's checkpoints, and what changes it. */
import {
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
  type QueryClient,
} from "@tanstack/react-query";
import {
  createCheckpoint,
  deleteCheckpoint,
  getBlame,
  getHistory,
  getVersion,
  listCheckpoints,
  restoreCheckpoint,
  restoreVersion,
} from "@/api/history";
import type { Checkpoint, CheckpointId, FileId, ReplId } from "@/gen/api";
import { t } from "@/strings/en";
import { complain, say } from "@/ui/Toaster";

/** How often an open panel asks what is new. */
const LOOK_MS = 15_000;

export interface FileOfRepl {
  repl: ReplId;
  file: FileId;
  path: string;
}

const historyKey = ({ repl, file }: FileOfRepl) => ["history", repl, file];
const blameKey = (of: FileOfRepl) => [...historyKey(of), "blame"];
const checkpointsKey = (repl: ReplId) => ["checkpoints", repl];

export function useFileHistory(of: FileOfRepl) {
  return useInfiniteQuery({
    queryKey: [...historyKey(of), "sessions"],
    queryFn: ({ pageParam, signal }) => getHistory(of.repl, of.path, { before: pageParam, signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.more ? last.sessions.at(-1)?.from_ms : undefined),
    refetchInterval: LOOK_MS,
    retry: 1,
  });
}

export function useVersion(of: FileOfRepl, at: number) {
  return useQuery({
    queryKey: [...historyKey(of), "at", at],
    queryFn: ({ signal }) => getVersion(of.repl, of.path, at, signal),
    staleTime: Infinity,
    gcTime: 60_000,
    retry: 1,
  });
}

export function useBlameQuery(of: FileOfRepl, on: boolean) {
  return useQuery({
    queryKey: blameKey(of),
    queryFn: async ({ signal }) => {
      const [lines, { authors }] = await Promise.all([
        getBlame(of.repl, of.path, signal),
        getHistory(of.repl, of.path, { limit: 1, signal }),
      ]);
      return { lines, authors };
    },
    enabled: on,
    retry: 1,
  });
}

export const refreshBlame = (client: QueryClient, of: FileOfRepl) =>
  client.invalidateQueries({ queryKey: blameKey(of) });

/** Brings a version back as a new edit, which can be taken back. */
export function useRestoreVersion(of: FileOfRepl, onRestored: () => void) {
  const client = useQueryClient();
  const refresh = () => client.invalidateQueries({ queryKey: historyKey(of) });
  return useMutation({
    mutationFn: async (at: number) => {
      const { to_ms: before } = await getHistory(of.repl, of.path, { limit: 1 });
      const { changed } = await restoreVersion(of.repl, of.path, at);
      return { before, changed };
    },
    onSuccess: ({ before, changed }) => {
      void refresh();
      onRestored();
      if (!changed) say(t.history.nothingToRestore);
      else if (before === null) say(t.history.restored);
      else {
        const takeBack = () =>
          restoreVersion(of.repl, of.path, before).then(
            () => void refresh(),
            (error: Error) => complain(t.history.restoreFailed, error.message),
          );
        say(t.history.restored, { label: t.undo, run: () => void takeBack() });
      }
    },
    onError: (error) => complain(t.history.restoreFailed, error.message),
  });
}

export function useCheckpoints(repl: ReplId) {
  return useQuery({
    queryKey: checkpointsKey(repl),
    queryFn: ({ signal }) => listCheckpoints(repl, signal),
    refetchInterval: LOOK_MS,
    retry: 1,
  });
}

export function useCreateCheckpoint(repl: ReplId) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (name: string) => createCheckpoint(repl, name === "" ? {} : { name }),
    onSuccess: (made) => {
      client.setQueryData<Checkpoint[]>(checkpointsKey(repl), (list) => [made, ...(list ?? [])]);
      say(t.history.checkpointMade(made.name));
    },
    onError: (error) => complain(t.history.checkpointFailed, error.message),
  });
}

export function useDeleteCheckpoint(repl: ReplId) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: CheckpointId) => deleteCheckpoint(repl, id),
    onSuccess: (_, id) =>
      client.setQueryData<Checkpoint[]>(checkpointsKey(repl), (list) =>
        list?.filter((one) => one.id !== id),
      ),
    onError: (error) => complain(t.history.checkpointDeleteFailed, error.message),
  });
}

/** Makes the whole repl what it was; the toast leads back. */
export function useRestoreCheckpoint(repl: ReplId, onRestored: () => void) {
  const client = useQueryClient();
  const refresh = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: checkpointsKey(repl) }),
      client.invalidateQueries({ queryKey: ["history", repl] }),
    ]);
  return useMutation({
    mutationFn: (checkpoint: Checkpoint) => restoreCheckpoint(repl, checkpoint.id),
    onSuccess: ({ before, changed, deleted }, { name }) => {
      void refresh();
      onRestored();
      const takeBack = () =>
        restoreCheckpoint(repl, before).then(
          () => void refresh(),
          (error: Error) => complain(t.history.checkpointRestoreFailed, error.message),
        );
      say(t.history.checkpointRestored(name, changed, deleted), {
        label: t.undo,
        run: () => void takeBack(),
      });
    },
    onError: (error) => complain(t.history.checkpointRestoreFailed, error.message),
  });
}
