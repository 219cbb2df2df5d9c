/** Plays a timeline: which step is shown, forwards by itself or by hand. */
import type { Timeline } from "@/editor/history/timeline";
import type { Observable } from "@/session/model";

export const SPEEDS = [1, 4, 16, 64] as const;
export type Speed = (typeof SPEEDS)[number];

export interface PlayerState {
  step: number;
  playing: boolean;
  speed: Speed;
  /** Steps that can be shown by now. */
  length: number;
  /** Share of the history that they are. */
  prepared: number;
}

/** What calls back before the next frame is drawn; `requestAnimationFrame` in the page. */
export type NextFrame = (then: (now: number) => void) => () => void;

const nextFrame: NextFrame = (then) => {
  const id = requestAnimationFrame(then);
  return () => cancelAnimationFrame(id);
};

export class Player implements Observable<PlayerState> {
  private readonly timeline: Timeline;
  private readonly nextFrame: NextFrame;
  private readonly listeners = new Set<() => void>();
  private state: PlayerState;
  /** Playing time, milliseconds with pauses shortened. */
  private time = 0;
  private cancel: (() => void) | null = null;

  constructor(timeline: Timeline, frames: NextFrame = nextFrame) {
    this.timeline = timeline;
    this.nextFrame = frames;
    const { length, prepared } = timeline;
    this.state = { step: 0, playing: false, speed: 1, length, prepared };
  }

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly getSnapshot = () => this.state;

  /** The timeline has more to show. */
  grow(): void {
    const { length, prepared } = this.timeline;
    this.set({ length, prepared });
  }

  play(): void {
    if (this.state.playing || this.timeline.length === 0) return;
    if (this.state.step >= this.timeline.length) this.seek(0);
    this.set({ playing: true });
    let last: number | null = null;
    const advance = (now: number) => {
      this.time += (last === null ? 0 : now - last) * this.state.speed;
      last = now;
      const step = this.timeline.stepAt(this.time);
      if (step !== this.state.step) this.set({ step });
      const atEnd = step >= this.timeline.length;
      // Faster than it is read: go on from here when there is more.
      if (atEnd) this.time = this.timeline.timeOf(step);
      if (atEnd && this.timeline.prepared === 1) this.pause();
      else if (this.state.playing) this.cancel = this.nextFrame(advance);
    };
    this.cancel = this.nextFrame(advance);
  }

  pause(): void {
    this.cancel?.();
    this.cancel = null;
    if (this.state.playing) this.set({ playing: false });
  }

  toggle(): void {
    if (this.state.playing) this.pause();
    else this.play();
  }

  seek(step: number): void {
    const within = Math.max(0, Math.min(this.timeline.length, step));
    this.time = this.timeline.timeOf(within);
    if (within !== this.state.step) this.set({ step: within });
  }

  /** One keystroke on or back; playing by itself ends. */
  move(steps: number): void {
    this.pause();
    this.seek(this.state.step + steps);
  }

  setSpeed(speed: Speed): void {
    this.set({ speed });
  }

  dispose(): void {
    this.pause();
    this.listeners.clear();
  }

  private set(change: Partial<PlayerState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of [...this.listeners]) listener();
  }
}
