import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import type { HistoryAuthor } from "@/gen/api";
import type { ReplayFrame } from "@/wire/replay";
import { Timeline, type Version } from "./timeline";

const ada: HistoryAuthor = { id: "a".repeat(16), name: "Ada", colour: "#aa0000" };
const bob: HistoryAuthor = { id: "b".repeat(16), name: "Bob", colour: "#0000aa" };

/** Records what is typed as frames. */
class Recorder {
  readonly doc = new Y.Doc();
  readonly text = this.doc.getText("content");
  readonly frames: ReplayFrame[];
  readonly texts: string[];
  ms = 1_000;

  constructor(base: string) {
    this.text.insert(0, base);
    this.frames = [{ ms: this.ms, author: null, update: Y.encodeStateAsUpdate(this.doc) }];
    this.texts = [base];
  }

  type(author: HistoryAuthor | null, change: (text: Y.Text) => void, pause = 100): void {
    const before = Y.encodeStateVector(this.doc);
    this.ms += pause;
    this.doc.transact(() => change(this.text));
    this.frames.push({ ms: this.ms, author, update: Y.encodeStateAsUpdate(this.doc, before) });
    this.texts.push(this.text.toString());
  }

  async timeline(): Promise<Timeline> {
    const timeline = new Timeline({ authors: [ada, bob], frames: [...this.frames] });
    await timeline.prepare(() => undefined, new AbortController().signal);
    return timeline;
  }
}

/** `Ada:he|Bob:ll` of a version. */
function authors({ doc, authorship }: Version): string {
  const parts: string[] = [];
  const cursor = authorship.iter();
  while (cursor.value) {
    const { title } = cursor.value.spec.attributes as { title: string };
    parts.push(`${title}:${doc.sliceString(cursor.from, cursor.to)}`);
    cursor.next();
  }
  return parts.join("|");
}

describe("a timeline", () => {
  it("shows every step's text and who wrote what of it", async () => {
    const recorder = new Recorder("base\n");
    recorder.type(ada, (text) => text.insert(5, "hello"));
    recorder.type(bob, (text) => text.insert(7, "XX"));
    recorder.type(ada, (text) => text.insert(12, "!"));
    recorder.type(bob, (text) => text.delete(5, 1));
    recorder.type(null, (text) => text.insert(0, "# "));
    const timeline = await recorder.timeline();
    expect(timeline.length).toBe(5);
    recorder.texts.forEach((text, at) => {
      expect(timeline.version(at).doc.toString()).toBe(text);
    });
    expect(authors(timeline.version(0))).toBe("");
    expect(authors(timeline.version(1))).toBe("Ada:hello");
    expect(authors(timeline.version(2))).toBe("Ada:he|Bob:XX|Ada:llo");
    expect(authors(timeline.version(3))).toBe("Ada:he|Bob:XX|Ada:llo!");
    expect(authors(timeline.version(5))).toBe("Ada:e|Bob:XX|Ada:llo!");
    expect(timeline.step(5)?.author).toBeNull();
    expect(timeline.step(0)).toBeNull();
  });

  it("leads from any step to any other", async () => {
    const recorder = new Recorder("");
    let seed = 7;
    const below = (limit: number) => {
      seed = (Math.imul(seed, 48271) >>> 0) % 2147483647;
      return seed % limit;
    };
    for (let step = 0; step < 300; step += 1) {
      recorder.type(step % 3 ? ada : bob, (text) => {
        const length = text.length;
        if (length > 20 && below(3) === 0) text.delete(below(length - 5), 1 + below(4));
        else text.insert(below(length + 1), below(5) === 0 ? "\n" : ("word"[below(4)] ?? "w"));
        if (below(10) === 0) text.insert(0, "both ends ");
      });
    }
    const timeline = await recorder.timeline();
    expect(timeline.length).toBe(300);
    for (let round = 0; round < 60; round += 1) {
      const [from, to] = [below(301), below(301)];
      const { doc } = timeline.version(from);
      expect(timeline.between(from, to).apply(doc).toString()).toBe(recorder.texts[to]);
      expect(timeline.version(to).doc.toString()).toBe(recorder.texts[to]);
    }
  });

  it("shortens pauses and skips edits that change nothing", async () => {
    const recorder = new Recorder("");
    recorder.type(ada, (text) => text.insert(0, "a"));
    recorder.type(ada, (text) => text.insert(1, "b"), 200);
    const again = recorder.frames.at(-1);
    if (again) recorder.frames.push({ ...again, ms: recorder.ms + 10 });
    recorder.type(ada, (text) => text.insert(2, "c"), 3_600_000);
    const timeline = await recorder.timeline();
    expect(timeline.length).toBe(3);
    expect([1, 2, 3].map((at) => timeline.timeOf(at))).toEqual([0, 200, 1_400]);
    expect([0, 199, 200, 1_399, 1_400, 9_999].map((time) => timeline.stepAt(time))).toEqual([
      1, 1, 2, 2, 3, 3,
    ]);
  });

  it("of an empty window has one version", async () => {
    const timeline = new Timeline({ authors: [], frames: [] });
    await timeline.prepare(() => undefined, new AbortController().signal);
    expect(timeline.length).toBe(0);
    expect(timeline.version(0).doc.length).toBe(0);
  });
});
