import { expect, it } from "vitest";
import { Timeline } from "@/editor/history/timeline";
import * as Y from "yjs";
import { Player } from "./player";

/** Typed letters, one every 100 ms. */
async function typed(letters: number): Promise<Timeline> {
  const doc = new Y.Doc();
  const frames = [{ ms: 0, author: null, update: Y.encodeStateAsUpdate(doc) }];
  doc.on("update", (update: Uint8Array) =>
    frames.push({ ms: frames.length * 100, author: null, update }),
  );
  for (let at = 0; at < letters; at += 1) doc.getText("content").insert(at, "x");
  const timeline = new Timeline({ authors: [], frames });
  await timeline.prepare(() => undefined, new AbortController().signal);
  return timeline;
}

/** Frames that the test lets pass. */
class Screen {
  now = 0;
  private next: ((now: number) => void) | null = null;
  readonly frames = (then: (now: number) => void) => {
    this.next = then;
    return () => {
      this.next = null;
    };
  };

  pass(ms: number): void {
    this.now += ms;
    const next = this.next;
    this.next = null;
    next?.(this.now);
  }

  get idle(): boolean {
    return this.next === null;
  }
}

it("plays at its speed, stops at the end, and begins again", async () => {
  const screen = new Screen();
  const player = new Player(await typed(10), screen.frames);
  player.play();
  screen.pass(0);
  expect(player.getSnapshot().step).toBe(1);
  screen.pass(250);
  expect(player.getSnapshot().step).toBe(3);
  player.setSpeed(4);
  screen.pass(100);
  expect(player.getSnapshot().step).toBe(7);
  screen.pass(1_000);
  expect(player.getSnapshot()).toMatchObject({ step: 10, playing: false, speed: 4 });
  expect(screen.idle).toBe(true);
  player.play();
  expect(player.getSnapshot()).toMatchObject({ step: 0, playing: true });
  player.dispose();
  expect(screen.idle).toBe(true);
});

it("moves by keystrokes, which ends playing, and never beyond the ends", async () => {
  const screen = new Screen();
  const player = new Player(await typed(5), screen.frames);
  player.toggle();
  screen.pass(0);
  player.move(2);
  expect(player.getSnapshot()).toMatchObject({ step: 3, playing: false });
  player.move(-10);
  expect(player.getSnapshot().step).toBe(0);
  player.seek(99);
  expect(player.getSnapshot().step).toBe(5);
  // Playing on from a place begins at that place's time.
  player.seek(2);
  player.play();
  screen.pass(0);
  screen.pass(100);
  expect(player.getSnapshot().step).toBe(3);
});
