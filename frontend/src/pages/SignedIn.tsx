import { Outlet } from "@tanstack/react-router";
import { Entering, NoSession, ServerAway } from "@/features/session/gates";
import { useSession } from "@/features/session/me";
import { MeContext } from "@/features/session/MeContext";
import { NameGate } from "@/features/session/NameGate";

/** Lets in who has a session, and asks guests for their name once. */
export function SignedIn() {
  const session = useSession();
  switch (session.state) {
    case "loading":
      return <Entering />;
    case "none":
      return <NoSession />;
    case "away":
      return <ServerAway retry={session.retry} />;
    case "in":
      if (session.me.unnamed && !session.me.owner) return <NameGate me={session.me} />;
      return (
        <MeContext value={session.me}>
          <Outlet />
        </MeContext>
      );
  }
}
