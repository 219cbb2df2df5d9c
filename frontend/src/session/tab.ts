/** This tab among the tabs of this browser: which others still live. */

const PREFIX = "tandem-tab-";
/** Where the browser cannot tell, what is newer than this may be a living tab's. */
const LEFT_AFTER_MS = 20_000;

/** A unique id; `crypto.randomUUID` does not exist on plain http. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) =>
    word.toString(36).padStart(7, "0"),
  ).join("");
}

export class Tab {
  readonly id = randomId();
  private readonly ended = new AbortController();
  private readonly locks: LockManager | undefined;

  constructor() {
    // A lock goes with its tab, however that ends. There are none on plain http.
    this.locks = typeof navigator === "undefined" ? undefined : navigator.locks;
    const { signal } = this.ended;
    void this.locks?.request(
      PREFIX + this.id,
      () => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
    );
  }

  /** Answers of a tab's id, and the time of something it did, whether that tab lives. */
  async whoLives(): Promise<(tab: string | undefined, at: number) => boolean> {
    const before = Date.now() - LEFT_AFTER_MS;
    const held = this.locks && (await this.locks.query()).held;
    if (!held) return (tab, at) => tab === this.id || at >= before;
    const living = new Set(held.map(({ name }) => name));
    return (tab) => tab !== undefined && living.has(PREFIX + tab);
  }

  end(): void {
    this.ended.abort();
  }
}
