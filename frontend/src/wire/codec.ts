/**
 * Frames of `tandem.v1` (see `crates/proto/src/live.rs` and `collab.rs`): Hocuspocus framing,
 * `[address: varString][type: varUint]…`, with the project's own types from 64 on. Pure.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";

export const SUBPROTOCOL = "tandem.v1";
/** Address of the repl's live state. */
export const LIVE_ADDRESS = "#live";
export const folderAddress = (folder: string) => `#dir/${folder}`;
export const fileAddress = (file: string) => `#${file}`;

const SYNC = 0;
const AWARENESS = 1;
const AUTH = 2;
const QUERY_AWARENESS = 3;
const SYNC_REPLY = 4;
const CLOSE = 7;
const PING = 9;
const PONG = 10;
const IDENTITY = 64;
const UPDATE = 65;
const ACK = 66;
const NACK = 67;
const CREDIT = 68;
const RESET = 69;
const CLOSED = 70;

/** Why an update was refused or a document is not there. */
export const Refusal = {
  malformed: 4400,
  readOnly: 4403,
  notFound: 4404,
  gap: 4409,
  tooLarge: 4413,
  notText: 4415,
  unavailable: 4503,
} as const;

export type AckLevel = 1 | 2;

export type Message =
  | { type: "step1"; stateVector: Uint8Array }
  | { type: "step2"; update: Uint8Array }
  | { type: "awareness"; update: Uint8Array }
  | { type: "query-awareness" }
  | { type: "auth"; allowed: boolean; detail: string }
  /** `guid` is empty when a client has no copy. */
  | { type: "identity"; guid: string; generation: number; path: string }
  | { type: "update"; seq: number; update: Uint8Array }
  | { type: "ack"; seq: number; level: AckLevel }
  | { type: "nack"; seq: number; code: number }
  | { type: "credit"; bytes: number }
  | { type: "reset"; reason: number }
  | { type: "closed"; code: number };

export type Frame =
  | { type: "ping" }
  | { type: "pong" }
  | { type: "message"; address: string; message: Message }
  /** A type this page does not know; ignored, so that servers may add some. */
  | { type: "unknown"; address: string; kind: number };

/** A frame that cannot be read. The socket is closed: what follows cannot be trusted. */
export class MalformedFrame extends Error {
  constructor(cause: unknown) {
    super("malformed frame", { cause });
    this.name = "MalformedFrame";
  }
}

export const PING_FRAME = Uint8Array.of(PING);
export const PONG_FRAME = Uint8Array.of(PONG);

export function decode(bytes: Uint8Array): Frame {
  if (bytes.length === 1 && bytes[0] === PING) return { type: "ping" };
  if (bytes.length === 1 && bytes[0] === PONG) return { type: "pong" };
  try {
    const decoder = decoding.createDecoder(bytes);
    const address = decoding.readVarString(decoder);
    const kind = decoding.readVarUint(decoder);
    const message = body(kind, decoder);
    return message === null
      ? { type: "unknown", address, kind }
      : { type: "message", address, message };
  } catch (error) {
    throw new MalformedFrame(error);
  }
}

function body(kind: number, from: decoding.Decoder): Message | null {
  switch (kind) {
    case SYNC:
    case SYNC_REPLY:
      return sync(from);
    case AWARENESS:
      return { type: "awareness", update: decoding.readVarUint8Array(from) };
    case QUERY_AWARENESS:
      return { type: "query-awareness" };
    case AUTH:
      return {
        type: "auth",
        allowed: decoding.readVarUint(from) === 2,
        detail: decoding.readVarString(from),
      };
    case IDENTITY:
      return {
        type: "identity",
        guid: decoding.readVarString(from),
        generation: decoding.readVarUint(from),
        path: decoding.readVarString(from),
      };
    case UPDATE:
      return {
        type: "update",
        seq: decoding.readVarUint(from),
        update: decoding.readVarUint8Array(from),
      };
    case ACK: {
      const seq = decoding.readVarUint(from);
      const level = decoding.readVarUint(from);
      if (level !== 1 && level !== 2) throw new Error("unknown ack level");
      return { type: "ack", seq, level };
    }
    case NACK:
      return { type: "nack", seq: decoding.readVarUint(from), code: decoding.readVarUint(from) };
    case CREDIT:
      return { type: "credit", bytes: decoding.readVarUint(from) };
    case RESET:
      return { type: "reset", reason: decoding.readVarUint(from) };
    case CLOSED:
    case CLOSE:
      return {
        type: "closed",
        code: kind === CLOSED && decoding.hasContent(from) ? decoding.readVarUint(from) : 0,
      };
    default:
      return null;
  }
}

function sync(from: decoding.Decoder): Message {
  const step = decoding.readVarUint(from);
  const payload = decoding.readVarUint8Array(from);
  switch (step) {
    case 0:
      return { type: "step1", stateVector: payload };
    case 1:
      return { type: "step2", update: payload };
    case 2:
      return { type: "update", seq: 0, update: payload };
    default:
      throw new Error("unknown sync step");
  }
}

export function encode(address: string, message: Message): Uint8Array<ArrayBuffer> {
  const to = encoding.createEncoder();
  encoding.writeVarString(to, address);
  const numbers = (kind: number, ...values: number[]) => {
    encoding.writeVarUint(to, kind);
    for (const value of values) encoding.writeVarUint(to, value);
  };
  switch (message.type) {
    case "step1":
      numbers(SYNC, 0);
      encoding.writeVarUint8Array(to, message.stateVector);
      break;
    case "step2":
      numbers(SYNC, 1);
      encoding.writeVarUint8Array(to, message.update);
      break;
    case "awareness":
      numbers(AWARENESS);
      encoding.writeVarUint8Array(to, message.update);
      break;
    case "query-awareness":
      numbers(QUERY_AWARENESS);
      break;
    case "auth":
      numbers(AUTH, message.allowed ? 2 : 1);
      encoding.writeVarString(to, message.detail);
      break;
    case "identity":
      numbers(IDENTITY);
      encoding.writeVarString(to, message.guid);
      encoding.writeVarUint(to, message.generation);
      encoding.writeVarString(to, message.path);
      break;
    case "update":
      numbers(UPDATE, message.seq);
      encoding.writeVarUint8Array(to, message.update);
      break;
    case "ack":
      numbers(ACK, message.seq, message.level);
      break;
    case "nack":
      numbers(NACK, message.seq, message.code);
      break;
    case "credit":
      numbers(CREDIT, message.bytes);
      break;
    case "reset":
      numbers(RESET, message.reason);
      break;
    case "closed":
      numbers(CLOSED, message.code);
      break;
  }
  return encoding.toUint8Array(to) as Uint8Array<ArrayBuffer>;
}
