/**
 * The session classes as the page sees them. `ReplSession`, `DocumentSession`, `FolderSession`
 * (session/) and `TerminalSession` (session/terminal.ts) implement these.
 */
import type { FileId, MemberId, Me, ReplId, Role, TerminalId } from "@/gen/api";
import type { DocumentSnapshot, FolderSnapshot, Observable, ReplSnapshot } from "./model";

export interface ReplOptions {
  repl: ReplId;
  me: Me;
  role: Role;
}

/** One opened text file; call `release` when nothing shows it any more. */
export interface OpenDocument extends Observable<DocumentSnapshot> {
  readonly file: FileId;
  /** Tells that the file was moved (the tree knows first); the replica and carets stay. */
  moved(path: string): void;
  release(): void;
}

/** One expanded folder; call `release` when it is collapsed. */
export interface OpenFolder extends Observable<FolderSnapshot> {
  readonly folder: FileId;
  release(): void;
}

/** A repl's page: one socket, all documents, folders, people. `new ReplSession(options)`. */
export interface ReplPage extends Observable<ReplSnapshot> {
  readonly repl: ReplId;
  readonly me: Me;
  /** Opens (or shares the already open) document of a file. */
  openDocument(file: FileId, path: string): OpenDocument;
  /** Subscribes to a folder's list; `ROOT_FOLDER` is the top. */
  openFolder(folder: FileId): OpenFolder;
  /** Resolves when every edit made so far is acknowledged (call before Run); rejects after
   *  `limitMs` or when the connection is refused. */
  acknowledged(limitMs: number): Promise<void>;
  /** Tells the others which file is in front. */
  showFile(file: FileId | null): void;
  /** Follows a member's file and caret; `null` stops. */
  follow(member: MemberId | null): void;
  /** Shows another name or colour to the others. */
  rename(me: Me): void;
  /** Tries to connect now. */
  reconnect(): void;
  dismissRescued(id: string): void;
  close(): void;
}

/** The id of the folder that holds a repl's top-level files. */
export const ROOT_FOLDER: FileId = "aaaaaaaaaaaaaaaa";

export type TerminalState =
  | { state: "connecting" }
  | { state: "open" }
  | { state: "waiting"; retryAt: number }
  | { state: "refused"; reason: "unauthorized" | "forbidden" | "gone" }
  | { state: "closed" };

export interface TerminalSnapshot {
  connection: TerminalState;
  cols: number;
  rows: number;
  driver: MemberId | null;
  /** Whether this page sets the size and answers the programs' questions. */
  driving: boolean;
  exit: { code: number | null; signal: number | null; durationMs: number } | null;
}

export interface TerminalOptions {
  repl: ReplId;
  terminal: TerminalId;
  me: MemberId;
  /** Viewers see everything and send nothing. */
  readOnly: boolean;
  /** It was made by this page just now: its first output is no replay of the past. */
  fresh?: boolean;
  /** F6 or Ctrl+Escape: move the focus out of the terminal. */
  onLeave?: () => void;
  screenReader?: boolean;
  fontSize?: number;
}

/** One terminal on the screen. `new TerminalView(options)` from `terminal/view`. */
export interface TerminalOnScreen extends Observable<TerminalSnapshot> {
  /** Puts it into a box; it fits itself to the box from then on. */
  attach(element: HTMLElement): void;
  detach(): void;
  focus(): void;
  /** Becomes the driver: this box's size is everybody's. */
  drive(): void;
  /** Sends text as if typed. */
  send(text: string): void;
  paste(text: string): void;
  clear(): void;
  findNext(query: string): boolean;
  findPrevious(query: string): boolean;
  /** The last lines that hold anything, at most `count`. */
  lastLines(count: number): string[];
  /** Reads colours and font again from the CSS variables (after a theme change). */
  restyle(): void;
  setScreenReader(on: boolean): void;
  setFontSize(pixels: number): void;
  dispose(): void;
}

export interface EditorCursor {
  line: number;
  column: number;
  /** Characters selected over all selections. */
  selected: number;
  selections: number;
}

export interface EditorOptions {
  document: OpenDocument;
  /** Ctrl+S: say "always saved". */
  onSave?: () => void;
  onCursor?: (cursor: EditorCursor) => void;
  /** Language by file name, null for plain text; told when known. */
  onLanguage?: (language: string | null) => void;
  onIndent?: (indent: { unit: "tab" | "space"; size: number }) => void;
  /** Ctrl+M toggles whether Tab leaves the editor. */
  onTabMode?: (tabLeaves: boolean) => void;
  /** The person typed or scrolled by hand: following somebody ends. */
  onLeaveFollow?: () => void;
  fontSize?: number;
  wrap?: boolean;
}

/** Lines in a row that one author wrote at about one time. */
export interface LineAuthor {
  /** From 1. */
  line: number;
  lines: number;
  /** Shown, short. */
  name: string;
  /** `#rrggbb`. */
  colour: string;
  /** How long ago, short. */
  age: string;
  /** Everything, for a hover. */
  title: string;
}

/** One editor on the screen. `new CodeEditor(options)` from `editor/editor`. Rebinds by itself
 *  when the document's replica is replaced. */
export interface EditorOnScreen {
  attach(element: HTMLElement): void;
  focus(): void;
  openSearch(): void;
  goToLine(line: number): void;
  undo(): void;
  redo(): void;
  toggleComment(): void;
  /** Does what a key would (`Tab`, `Escape`, `ArrowLeft`, …): for a key row on phones. */
  press(key: string): void;
  /** Scrolls to a member's caret; false when they have none here. */
  revealPeer(member: MemberId): boolean;
  /** Keeps scrolling to a member's caret; `null` stops. */
  followPeer(member: MemberId | null): void;
  setWrap(on: boolean): void;
  setFontSize(pixels: number): void;
  /** Says beside each line who wrote it; `null` says nothing. */
  setLineAuthors(authors: readonly LineAuthor[] | null): void;
  dispose(): void;
}
