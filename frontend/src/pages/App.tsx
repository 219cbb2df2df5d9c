import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ProblemError } from "@/api/problem";
import { enter, type Entrance } from "@/features/session/entrance";
import { BadLink, Entering, ServerAway } from "@/features/session/gates";
import { ME_KEY } from "@/features/session/me";
import { useApplyTheme } from "@/features/settings/theme";
import { t } from "@/strings/en";
import { Toaster } from "@/ui/Toaster";
import { TooltipProvider } from "@/ui/Tooltip";
import { router } from "./router";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // A refusal does not change by asking again; a missing answer may.
      retry: (failures, error) => !(error instanceof ProblemError) && failures < 2,
      refetchOnWindowFocus: true,
      staleTime: 2_000,
    },
  },
});

// The token must leave the address before anything else is asked for, and is used up once.
const entrance = enter();

/** The whole page. */
export function App() {
  const theme = useApplyTheme();
  return (
    <QueryClientProvider client={queries}>
      <TooltipProvider>
        <Entered />
        <Toaster theme={theme} label={t.notifications} />
      </TooltipProvider>
    </QueryClientProvider>
  );
}

function Entered() {
  const [state, setState] = useState<Entrance | null>(null);
  useEffect(() => {
    let shown = true;
    void entrance.then(async (result) => {
      if (result.state === "entered") {
        queries.setQueryData(ME_KEY, result.session.me);
        const { repl } = result.session;
        if (repl !== null)
          await router.navigate({ to: "/r/$repl", params: { repl }, replace: true });
      }
      if (shown) setState(result);
    });
    return () => {
      shown = false;
    };
  }, []);
  switch (state?.state) {
    case undefined:
      return <Entering />;
    case "bad-link":
      return <BadLink />;
    case "away":
      return <ServerAway retry={() => window.location.reload()} />;
    case "plain":
    case "entered":
      return <RouterProvider router={router} />;
  }
}
