/**
 * A file's history step by step: replayed once through Yjs (which keeps what was deleted), then
 * any step's text is found from the nearest stop before it. Replaying is done in slices, so that
 * the page stays alive; memory is bounded by the window that the server sends.
 */
import { ChangeSet, Text } from "@codemirror/state";
import * as Y from "yjs";
import type { HistoryAuthor } from "@/gen/api";
import { parseReplay, type Replay } from "@/wire/replay";
import { type Authorship, NOBODY, written } from "./authorship";
import { ChangeFinder, type TextChange } from "./changes";

export interface Step {
  ms: number;
  author: HistoryAuthor | null;
  changes: readonly TextChange[];
}

/** A text as it was, and who had written what of it since the beginning of the window. */
export interface Version {
  doc: Text;
  authorship: Authorship;
}

/** Every so many steps the version is kept. */
const STOP_EVERY = 64;
/** A pause longer than this is shortened to it. */
const LONGEST_PAUSE_MS = 1_200;
/** How long replaying may hold the page up at a time. */
const SLICE_MS = 12;

export class Timeline {
  readonly authors: readonly HistoryAuthor[];
  /** When the window begins. */
  readonly beginMs: number;
  private readonly steps: Step[] = [];
  private readonly stops: Version[] = [];
  /** When each step is shown, with pauses shortened. */
  private readonly shownAt: number[] = [];
  private readonly frames: Replay["frames"];
  private share = 0;

  constructor({ authors, frames }: Replay) {
    this.authors = authors;
    this.frames = frames;
    this.beginMs = frames[0]?.ms ?? 0;
  }

  /** Steps known so far; step 0 is the text before the first. */
  get length(): number {
    return this.steps.length;
  }

  /** The window that the server sent. */
  static read(bytes: Uint8Array): Timeline {
    return new Timeline(parseReplay(bytes));
  }

  /** The share that is replayed so far; steps of it can be shown already. */
  get prepared(): number {
    return this.share;
  }

  /** Replays everything, and tells whenever there is more to show. */
  async prepare(onProgress: () => void, signal: AbortSignal): Promise<void> {
    const doc = new Y.Doc({ gc: false });
    const text = doc.getText("content");
    const [base, ...edits] = this.frames;
    if (base) Y.applyUpdate(doc, base.update);
    let version: Version = { doc: Text.of(text.toString().split("\n")), authorship: NOBODY };
    this.stops.push(version);
    let changes: TextChange[];
    const finder = new ChangeFinder(text);
    text.observe((event) => {
      changes = finder.changesOf(event);
    });
    let until = performance.now() + SLICE_MS;
    for (const [index, { ms, author, update }] of edits.entries()) {
      if (performance.now() > until) {
        this.share = index / edits.length;
        onProgress();
        await breathe();
        if (signal.aborted) return doc.destroy();
        until = performance.now() + SLICE_MS;
      }
      changes = [];
      Y.applyUpdate(doc, update);
      // What the base holds already, or what only another part of the document shows.
      if (changes.length === 0) continue;
      version = this.add(version, { ms, author, changes });
    }
    doc.destroy();
    this.frames.length = 0;
    this.share = 1;
    onProgress();
  }

  private add(version: Version, step: Step): Version {
    const pause = step.ms - (this.steps.at(-1)?.ms ?? step.ms);
    const before = this.shownAt.at(-1) ?? 0;
    this.shownAt.push(before + Math.min(LONGEST_PAUSE_MS, Math.max(0, pause)));
    this.steps.push(step);
    const next = after(version, step);
    if (this.steps.length % STOP_EVERY === 0) this.stops.push(next);
    return next;
  }

  /** The edit that led to a step's text; null for step 0. */
  step(at: number): Step | null {
    return this.steps[at - 1] ?? null;
  }

  version(at: number): Version {
    const stop = Math.min(Math.floor(at / STOP_EVERY), this.stops.length - 1);
    let version = this.stops[stop] ?? { doc: Text.empty, authorship: NOBODY };
    for (let next = stop * STOP_EVERY; next < at; next += 1) {
      const step = this.steps[next];
      if (step) version = after(version, step);
    }
    return version;
  }

  /** What leads from one step's text to another's. */
  between(from: number, to: number): ChangeSet {
    if (from > to) return this.between(to, from).invert(this.version(to).doc);
    let length = this.version(from).doc.length;
    let all = ChangeSet.empty(length);
    for (const step of this.steps.slice(from, to)) {
      const changes = ChangeSet.of([...step.changes], length);
      length = changes.newLength;
      all = all.compose(changes);
    }
    return all;
  }

  /** Playing time at a step, milliseconds from the beginning. */
  timeOf(at: number): number {
    return this.shownAt[at - 1] ?? 0;
  }

  /** The step to show at a playing time. */
  stepAt(time: number): number {
    let [low, high] = [0, this.shownAt.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.shownAt[middle] ?? 0) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function after({ doc, authorship }: Version, step: Step): Version {
  const changes = ChangeSet.of([...step.changes], doc.length);
  return { doc: changes.apply(doc), authorship: written(authorship, step, changes) };
}

/** Lets the page draw and answer; timers are throttled in hidden pages, messages are not. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
