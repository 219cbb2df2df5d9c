/**
 * Who looks at which file: awareness on the `#live` document. One entry per tab; people without
 * this page (stock clients) appear only in the server's own list.
 */
import * as Y from "yjs";
import type { FileId, Me } from "@/gen/api";
import { Carets } from "./carets";
import type { Send } from "./channel";
import type { Presence } from "./model";

interface Announced {
  user?: { name?: unknown; color?: unknown; member?: unknown };
  file?: unknown;
}

const text = (value: unknown, fallback = "") => (typeof value === "string" ? value : fallback);

export class Whereabouts {
  private readonly doc = new Y.Doc();
  private readonly carets: Carets;

  constructor(me: Me, send: Send, onChange: () => void) {
    this.carets = new Carets(this.doc, me, send);
    this.carets.awareness.setLocalStateField("file", null);
    this.carets.awareness.on("change", onChange);
  }

  show(file: FileId | null): void {
    const state = this.carets.awareness.getLocalState() as Announced | null;
    if (state?.file !== file) this.carets.awareness.setLocalStateField("file", file);
  }

  introduce(me: Me): void {
    this.carets.introduce(me);
  }

  connected(): void {
    this.carets.connected();
  }

  disconnected(): void {
    this.carets.disconnected();
  }

  receive(update: Uint8Array): void {
    this.carets.receive(update);
  }

  list(): Presence[] {
    const { awareness } = this.carets;
    const people: Presence[] = [];
    for (const [clientId, state] of awareness.getStates()) {
      const { user, file } = state as Announced;
      if (typeof user?.member !== "string") continue;
      people.push({
        clientId,
        self: clientId === awareness.clientID,
        member: user.member,
        name: text(user.name),
        colour: safeColour(user.color),
        file: typeof file === "string" ? file : null,
      });
    }
    return people.sort((a, b) => a.clientId - b.clientId);
  }

  dispose(): void {
    this.carets.destroy();
    this.doc.destroy();
  }
}

/** A peer's colour goes into styles: only `#rrggbb` is taken. */
export function safeColour(value: unknown): string {
  return typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value) ? value : "#888888";
}
