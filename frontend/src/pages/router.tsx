import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
} from "@tanstack/react-router";
import { NowhereGate } from "@/features/session/gates";
import { useMe } from "@/features/session/MeContext";
import { WorkspaceSkeleton } from "@/features/workspace/WorkspaceSkeleton";
import { t } from "@/strings/en";
import { CrashGate } from "./CrashGate";
import { HomePage } from "./HomePage";
import { SignedIn } from "./SignedIn";

const root = createRootRoute({
  component: SignedIn,
  notFoundComponent: () => <NowhereGate title={t.gate.notFoundTitle} body={t.gate.notFound} />,
  errorComponent: CrashGate,
});

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: function Home() {
    return <HomePage me={useMe()} />;
  },
});

const repl = createRoute({
  getParentRoute: () => root,
  path: "/r/$repl",
  component: lazyRouteComponent(() => import("./ReplPage"), "ReplPage"),
  pendingComponent: WorkspaceSkeleton,
});

export const router = createRouter({
  routeTree: root.addChildren([home, repl]),
  defaultPreload: "intent",
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
