import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { getRepl } from "@/api/client";
import { ProblemError } from "@/api/problem";
import type { ReplInfo } from "@/gen/api";
import { replKey } from "@/features/home/repls";
import { NowhereGate, ServerAway } from "@/features/session/gates";
import { useMe } from "@/features/session/MeContext";
import type { Parts } from "@/features/workspace/parts";
import { WorkspaceContext } from "@/features/workspace/useWorkspace";
import { Workspace } from "@/features/workspace/workspace";
import { WorkspaceSkeleton } from "@/features/workspace/WorkspaceSkeleton";
import { WorkspaceView } from "@/features/workspace/WorkspaceView";
import { t } from "@/strings/en";
import { useHeld } from "@/ui/useHeld";
import { parts as realParts } from "./parts";

/** A repl's page: finds out whether it is there and ours, then opens it. */
export function ReplPage() {
  const { repl } = useParams({ from: "/r/$repl" });
  const query = useQuery({
    queryKey: replKey(repl),
    queryFn: ({ signal }) => getRepl(repl, signal),
    retry: false,
    refetchInterval: ({ state }) =>
      state.error !== null && !(state.error instanceof ProblemError) ? 3000 : false,
  });
  if (query.data !== undefined) {
    if (query.data.deleted_ms !== null) {
      return <NowhereGate title={t.gate.replGoneTitle} body={t.gate.replGone} />;
    }
    return <OpenRepl key={repl} info={query.data} parts={realParts} />;
  }
  if (query.error instanceof ProblemError) {
    return query.error.status === 403 ? (
      <NowhereGate title={t.gate.replForbiddenTitle} body={t.gate.replForbidden} />
    ) : (
      <NowhereGate title={t.gate.replGoneTitle} body={t.gate.replGone} />
    );
  }
  if (query.error !== null) return <ServerAway retry={() => void query.refetch()} />;
  return <WorkspaceSkeleton />;
}

/** Holds the workspace for as long as the page shows it. */
export function OpenRepl({ info, parts }: { info: ReplInfo; parts: Parts }) {
  const me = useMe();
  // A new name or colour is told to the session; it does not reopen the repl.
  const workspace = useHeld(
    {
      make: () => new Workspace(parts, info, me),
      release: (opened) => opened.close(),
    },
    `${info.id} ${info.role}`,
  );
  if (workspace === null) return <WorkspaceSkeleton />;
  return (
    <WorkspaceContext value={workspace}>
      <WorkspaceView info={info} />
    </WorkspaceContext>
  );
}
