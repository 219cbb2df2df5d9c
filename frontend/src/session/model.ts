/**
 * What the session classes show to the page: plain immutable data. Each `getSnapshot` returns
 * the same object until something in it changed, so it fits `useSyncExternalStore`.
 */
import type { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import type { FileId, LiveState, MemberId, Role, TreeEntry } from "@/gen/api";

/** Anything that can be watched. `subscribe` and `getSnapshot` are bound; pass them as they are. */
export interface Observable<T> {
  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => T;
}

/** The repl's one socket. */
export type ConnectionState =
  | { state: "connecting"; attempt: number }
  | { state: "open" }
  /** Retries by itself at `retryAt` (milliseconds since the epoch). */
  | { state: "waiting"; attempt: number; retryAt: number; reason: string }
  /** Does not retry: `unauthorized` = sign in again, `forbidden` = access was taken away,
   *  `gone` = no such repl, `outdated` = the page must be reloaded. */
  | { state: "refused"; reason: "unauthorized" | "forbidden" | "gone" | "outdated" }
  | { state: "closed" };

/** How safe everything typed here is, over all documents. */
export type Durability =
  /** Nothing was typed since the page opened. */
  | { state: "idle" }
  /** `edits` are not acknowledged; the oldest was made at `since` (ms since the epoch). They are
   *  kept in this browser unless `keptLocally` is false (private mode, full disk). */
  | { state: "unsaved"; edits: number; since: number; keptLocally: boolean }
  /** Everything is in the node's fsynced log. */
  | { state: "on-disk" }
  /** Everything is in the blob store. */
  | { state: "stored" };

/** Text that the server did not take, or whose file is gone; kept until dismissed. */
export interface RescuedText {
  id: string;
  path: string;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
  reason: "refused" | "replaced" | "deleted";
}

/** Somebody's page: one per tab. `self` marks this tab. */
export interface Presence {
  clientId: number;
  self: boolean;
  member: MemberId;
  name: string;
  colour: string;
  /** The file in front, when one is. */
  file: FileId | null;
}

/** Everything about the repl but the texts. */
export interface ReplSnapshot {
  connection: ConnectionState;
  role: Role;
  /** `null` until it came for the first time; then the last known, also while disconnected. */
  live: LiveState | null;
  durability: Durability;
  presence: readonly Presence[];
  following: MemberId | null;
  rescued: readonly RescuedText[];
}

/** One folder's list, folders first, then by name. */
export type FolderSnapshot =
  | { state: "loading" }
  | { state: "ready"; entries: readonly TreeEntry[] }
  /** Shown while disconnected: the last known list. */
  | { state: "stale"; entries: readonly TreeEntry[] }
  | { state: "gone" };

/** One copy of a document's history. Replaced as a whole when the server says so: an editor
 *  binds to exactly one replica and is made anew for the next. */
export interface Replica {
  readonly doc: Y.Doc;
  /** `doc.getText("content")`; LF only. */
  readonly text: Y.Text;
  readonly awareness: Awareness;
}

/** One text file. */
export type DocumentSnapshot =
  /** Nothing to show yet. */
  | { state: "opening"; path: string | null }
  /** Editable. `synced` is false while disconnected or catching up: what is shown may be old,
   *  edits are kept and sent later. */
  | {
      state: "open";
      path: string;
      replica: Replica;
      synced: boolean;
      readOnly: boolean;
      /** Of this document alone; for a mark on its tab. */
      durability: Durability["state"];
    }
  /** The server has no such text: see `reason`; `code` is a `Refusal` number of the protocol. */
  | {
      state: "unavailable";
      path: string | null;
      reason: "not-found" | "not-text" | "too-large" | "storage" | "refused";
      code: number;
    };
