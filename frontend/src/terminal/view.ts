/** One terminal on the screen: xterm.js on a {@link TerminalSession}. */
import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { type IDisposable, Terminal } from "@xterm/xterm";
import type { TerminalOnScreen, TerminalOptions, TerminalSnapshot } from "@/session/contract";
import { TerminalSession } from "@/session/terminal";
import { sanitizePaste } from "./paste";
import { guardQueries } from "./queries";
import { readFont, readTheme } from "./theme";

const SCROLLBACK_LINES = 5_000;
/** Output after this much quiet is new; before, it may be the past drawn again. */
const REPLAY_QUIET_MS = 150;
/** RIS: clears screen, scrollback and modes, in order with the output around it. */
const FULL_RESET = "\x1bc";

export class TerminalView implements TerminalOnScreen {
  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => TerminalSnapshot;
  private readonly options: TerminalOptions;
  private readonly terminal: Terminal;
  private readonly session: TerminalSession;
  private readonly fitting = new FitAddon();
  private readonly searching = new SearchAddon();
  private readonly unsubscribe: () => void;
  private readonly resizeObserver: ResizeObserver;
  private element: HTMLElement | null = null;
  private webgl: IDisposable | null = null;
  private replaying: boolean;
  private replayTimer: ReturnType<typeof setTimeout> | undefined;
  private fitFrame = 0;
  private disposed = false;

  constructor(options: TerminalOptions) {
    this.options = options;
    this.replaying = !options.fresh;
    this.terminal = new Terminal({
      allowProposedApi: true,
      scrollback: SCROLLBACK_LINES,
      cursorBlink: true,
      disableStdin: options.readOnly,
      fontSize: options.fontSize ?? 13,
      lineHeight: 1.2,
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      screenReaderMode: options.screenReader ?? false,
      linkHandler: { activate: (_event, uri) => openLink(uri), allowNonHttpProtocols: false },
    });
    this.terminal.loadAddon(this.fitting);
    this.terminal.loadAddon(this.searching);
    this.terminal.loadAddon(new WebLinksAddon((_event, uri) => openLink(uri)));
    guardQueries(this.terminal, () => this.mayAnswer());
    this.terminal.attachCustomKeyEventHandler((event) => this.onKey(event));
    this.session = new TerminalSession({
      ...options,
      onOutput: (bytes, end) => this.onOutput(bytes, end),
      onReset: (prelude) => this.onReset(prelude),
    });
    this.subscribe = this.session.state.subscribe;
    this.getSnapshot = this.session.state.getSnapshot;
    this.unsubscribe = this.subscribe(() => this.applySize());
    const encoder = new TextEncoder();
    this.terminal.onData((text) => this.session.send(encoder.encode(text)));
    // Mouse reports: one byte per character.
    this.terminal.onBinary((text) =>
      this.session.send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff)),
    );
    this.resizeObserver = new ResizeObserver(() => this.planFit());
    void this.loadGraphemes();
  }

  attach(element: HTMLElement): void {
    if (this.disposed) return;
    this.detach();
    this.element = element;
    this.restyle();
    if (this.terminal.element) element.append(this.terminal.element);
    else this.open(element);
    this.resizeObserver.observe(element);
    this.planFit();
    void this.loadWebgl();
  }

  private open(element: HTMLElement): void {
    this.terminal.open(element);
    this.terminal.element?.addEventListener("paste", this.onPaste, { capture: true });
  }

  detach(): void {
    cancelAnimationFrame(this.fitFrame);
    this.resizeObserver.disconnect();
    // Browsers allow few WebGL contexts: only terminals in sight have one.
    this.webgl?.dispose();
    this.webgl = null;
    this.terminal.element?.remove();
    this.element = null;
  }

  focus(): void {
    this.terminal.focus();
  }

  drive(): void {
    this.fitNow();
    this.session.drive();
  }

  send(text: string): void {
    this.terminal.input(text, true);
  }

  paste(text: string): void {
    if (!this.options.readOnly) this.terminal.paste(sanitizePaste(text));
  }

  clear(): void {
    this.terminal.clear();
  }

  findNext(query: string): boolean {
    return this.searching.findNext(query);
  }

  findPrevious(query: string): boolean {
    return this.searching.findPrevious(query);
  }

  lastLines(count: number): string[] {
    const buffer = this.terminal.buffer.normal;
    const lines: string[] = [];
    for (let at = buffer.length - 1; at >= 0 && lines.length < count; at -= 1) {
      const text = buffer.getLine(at)?.translateToString(true) ?? "";
      if (text !== "" || lines.length > 0) lines.unshift(text);
    }
    return lines;
  }

  restyle(): void {
    if (!this.element) return;
    this.terminal.options.theme = readTheme(this.element);
    this.terminal.options.fontFamily = readFont(this.element);
    this.planFit();
  }

  setScreenReader(on: boolean): void {
    this.terminal.options.screenReaderMode = on;
  }

  setFontSize(pixels: number): void {
    this.terminal.options.fontSize = pixels;
    this.planFit();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.detach();
    clearTimeout(this.replayTimer);
    this.unsubscribe();
    this.session.close();
    this.terminal.dispose();
  }

  // --- output ---

  private onOutput(bytes: Uint8Array, end: number): void {
    if (this.replaying) this.awaitQuiet();
    this.terminal.write(bytes, () => this.session.drawn(end));
  }

  private onReset(prelude: string): void {
    this.replaying = true;
    this.awaitQuiet();
    this.terminal.write(FULL_RESET + prelude);
  }

  private awaitQuiet(): void {
    clearTimeout(this.replayTimer);
    // An empty write ends the replay only after everything before it was drawn.
    this.replayTimer = setTimeout(() => {
      this.terminal.write("", () => (this.replaying = false));
    }, REPLAY_QUIET_MS);
  }

  private mayAnswer(): boolean {
    return this.session.state.getSnapshot().driving && !this.replaying;
  }

  // --- size ---

  private planFit(): void {
    cancelAnimationFrame(this.fitFrame);
    this.fitFrame = requestAnimationFrame(() => this.fitNow());
  }

  private fitNow(): void {
    const size = this.element?.clientWidth ? this.fitting.proposeDimensions() : undefined;
    if (!size || !Number.isFinite(size.cols) || !Number.isFinite(size.rows)) return;
    this.session.fit({
      cols: Math.max(2, Math.min(size.cols, 500)),
      rows: Math.max(1, Math.min(size.rows, 200)),
    });
    this.applySize();
  }

  /** The size in force comes from the server, also for the driver: all screens agree. */
  private applySize(): void {
    const { cols, rows } = this.session.state.getSnapshot();
    if (cols === this.terminal.cols && rows === this.terminal.rows) return;
    this.terminal.resize(Math.max(2, cols), Math.max(1, rows));
  }

  // --- keys ---

  /** False leaves a key to the page and the browser. */
  private onKey(event: KeyboardEvent): boolean {
    const { key, code, ctrlKey, metaKey, shiftKey, altKey } = event;
    if (key === "F6" || (key === "Escape" && ctrlKey && !shiftKey)) {
      if (event.type === "keydown") {
        event.preventDefault();
        this.options.onLeave?.();
      }
      return false;
    }
    if (key === "F1") return false;
    if ((ctrlKey || metaKey) && code === "Backquote") return false;
    if (metaKey && !ctrlKey) return false;
    if (ctrlKey && shiftKey && !altKey) {
      if (code === "KeyC") {
        if (event.type === "keydown") {
          event.preventDefault();
          void copy(this.terminal.getSelection());
        }
        return false;
      }
      // Paste is the browser's own (its event comes to `onPaste`); the rest is the page's.
      return false;
    }
    return true;
  }

  private readonly onPaste = (event: ClipboardEvent) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    this.paste(event.clipboardData?.getData("text/plain") ?? "");
  };

  // --- parts loaded later ---

  private async loadWebgl(): Promise<void> {
    if (this.webgl || this.options.screenReader || !hasGraphicsCard()) return;
    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      if (this.disposed || this.webgl || !this.element) return;
      const addon = new WebglAddon();
      addon.onContextLoss(() => {
        addon.dispose();
        if (this.webgl === addon) this.webgl = null;
      });
      this.terminal.loadAddon(addon);
      this.webgl = addon;
    } catch {
      // No WebGL here: the DOM renderer does.
    }
  }

  private async loadGraphemes(): Promise<void> {
    try {
      const { UnicodeGraphemesAddon } = await import("@xterm/addon-unicode-graphemes");
      if (!this.disposed) this.terminal.loadAddon(new UnicodeGraphemesAddon());
    } catch {
      // Emoji of several parts are drawn wider than they should be; nothing else.
    }
  }
}

let graphicsCard: boolean | undefined;

/** WebGL done in software is slower than the DOM renderer, and takes the CPU that user code runs
 *  on when both are one machine. */
function hasGraphicsCard(): boolean {
  if (graphicsCard !== undefined) return graphicsCard;
  const context = document.createElement("canvas").getContext("webgl2");
  const info = context?.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(context?.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? 0x1f01) ?? "");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  graphicsCard = context !== null && !/swiftshader|llvmpipe|softpipe|software/i.test(renderer);
  return graphicsCard;
}

function openLink(uri: string): void {
  if (/^https?:\/\//i.test(uri)) window.open(uri, "_blank", "noopener,noreferrer");
}

async function copy(text: string): Promise<void> {
  if (text === "") return;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain http has no clipboard interface; the old command works from a key press.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
