/**
 * Several tabs of two browsers on one document while connections break, tabs crash and come back, the
 * server forgets what was not stored, and refuses to store for a while. At the end all agree
 * and every word typed is there exactly once. A failing seed can be run again by itself.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Me } from "@/gen/api";
import { Refusal } from "@/wire/codec";
import { DocumentSession } from "./document";
import { MemoryKeptStore, SharedMemory } from "./kept.testing";
import type { RescuedText } from "./model";
import { MemoryPeer } from "./peer.testing";

const file = "f".repeat(16);
const me: Me = {
  member: "m".repeat(16),
  name: "A",
  colour: "#aa0000",
  owner: true,
  unnamed: false,
};

/** Small deterministic generator (mulberry32). */
function generator(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** One tab: the store of its browser outlives it, and may belong to other tabs, too. */
class Tab {
  readonly rescued: RescuedText[] = [];
  private readonly memory: SharedMemory;
  private readonly peer: MemoryPeer;
  private kept!: MemoryKeptStore;
  private session!: DocumentSession;
  private connection: ReturnType<MemoryPeer["connect"]> | null = null;

  constructor(peer: MemoryPeer, memory: SharedMemory) {
    this.peer = peer;
    this.memory = memory;
    this.open();
  }

  open(): void {
    this.kept = new MemoryKeptStore(this.memory);
    this.session = new DocumentSession({
      repl: "repl",
      file,
      path: "main.py",
      me,
      readOnly: false,
      kept: this.kept,
      send: this.peer.sender(() => this.connection),
      onDurability: () => undefined,
      onRescued: (text) => this.rescued.push(text),
    });
  }

  connect(): void {
    if (this.connection) return;
    const { session } = this;
    this.connection = this.peer.connect({
      connected: () => undefined,
      disconnected: () => {
        this.connection = null;
        session.disconnected();
      },
      receive: (message) => session.receive(message),
    });
    session.connected();
    void session.takeLeft();
  }

  cut(): void {
    if (this.connection) this.peer.cut(this.connection);
    this.connection = null;
  }

  crash(): void {
    this.kept.dead = true;
    this.cut();
    this.session.dispose();
    this.open();
  }

  type(next: (below: number) => number, word: string): boolean {
    const shown = this.session.state.getSnapshot();
    if (shown.state !== "open") return false;
    const { text } = shown.replica;
    // Between words, so that each can be found whole.
    const places = [0, ...[...text.toString()].flatMap((c, at) => (c === " " ? [at + 1] : []))];
    text.insert(places[next(places.length)] ?? 0, `${word} `);
    return true;
  }

  get text(): string {
    const shown = this.session.state.getSnapshot();
    return shown.state === "open" ? shown.replica.text.toString() : shown.state;
  }

  get durability(): string {
    return this.session.durability();
  }

  get keptRows(): number {
    return this.memory.updates.length + this.memory.states.length;
  }

  close(): void {
    this.session.dispose();
  }
}

async function run(seed: number, steps: number): Promise<void> {
  const next = generator(seed);
  const peer = new MemoryPeer(file);
  // Two tabs of one browser, and one of another.
  const [shared, alone] = [new SharedMemory(), new SharedMemory()];
  const tabs = [shared, shared, alone].map((memory) => new Tab(peer, memory));
  const pick = () => tabs[next(3)] as Tab;
  const words: string[] = [];
  for (const tab of tabs) tab.connect();
  await vi.advanceTimersByTimeAsync(1);
  for (let step = 0; step < steps; step += 1) {
    const tab = pick();
    const action = next(100);
    if (action < 60) {
      const word = `w${words.length}`;
      if (tab.type(next, word)) words.push(word);
      if (next(3) > 0) await vi.advanceTimersByTimeAsync(next(30));
    } else if (action < 70) tab.cut();
    else if (action < 84) tab.connect();
    else if (action < 88) {
      // A batch not yet 15 ms old may go with a crash; what is older may not.
      await vi.advanceTimersByTimeAsync(20);
      tab.crash();
      await vi.advanceTimersByTimeAsync(1);
    } else if (action < 93) peer.acknowledge(1);
    else if (action < 96) peer.store();
    else if (action < 98) peer.die();
    else peer.refuseOnly = Refusal.unavailable;
  }
  // Everybody comes back, in any order, twice: what one lacks another brings.
  for (let round = 0; round < 2; round += 1) {
    for (const tab of tabs) tab.cut();
    for (const tab of tabs) tab.connect();
    await vi.advanceTimersByTimeAsync(10_000);
  }
  peer.refuseOnly = null;
  await vi.advanceTimersByTimeAsync(10_000);
  peer.store();
  await vi.advanceTimersByTimeAsync(100);
  for (const tab of tabs) {
    expect(tab.rescued, "nothing had to be rescued").toEqual([]);
    expect(tab.text).toBe(peer.text);
    expect(tab.keptRows, "nothing is kept for nothing").toBe(0);
    expect(["idle", "stored"]).toContain(tab.durability);
  }
  expect(peer.text.split(" ").filter(Boolean).sort()).toEqual([...words].sort());
  for (const tab of tabs) tab.close();
}

describe("a swarm", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const seeds = Array.from(
    { length: Number(process.env.SWARM_SEEDS ?? 25) },
    (_, index) => index + 1,
  );
  it.each(seeds)("converges and loses nothing (seed %i)", (seed) => run(seed, 200));
});
