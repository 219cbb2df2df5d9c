/** One address on the repl's socket, as its owner sees it. */
import type { Message } from "@/wire/codec";

export interface Channel {
  /** The socket opened; nothing of an earlier connection holds any more. */
  connected(): void;
  disconnected(): void;
  receive(message: Message): void;
}

/** Sends on the channel's address; false while there is no connection. */
export type Send = (message: Message) => boolean;

/** Marks what came from the server as origin of a Yjs transaction, to break the echo. */
export const REMOTE = Symbol("remote");
