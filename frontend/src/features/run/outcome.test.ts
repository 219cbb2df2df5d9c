import { expect, it } from "vitest";
import { exitMark, outcomeOf, outcomeText } from "./outcome";

const exit = (code: number | null, signal: number | null = null) => ({
  code,
  signal,
  duration_ms: 1234,
});

it.each([
  [null, "running", "Running"],
  [exit(0), "good", "Finished in 1.2 s"],
  [exit(1), "bad", "Exit code 1 after 1.2 s"],
  [exit(null, 15), "stopped", "Stopped after 1.2 s"],
  [exit(null), "stopped", "The machine ended during the run"],
  [exit(null, 11), "bad", "Ended by signal 11 after 1.2 s"],
])("%o is %s: %s", (given, outcome, text) => {
  expect(outcomeOf(given)).toBe(outcome);
  expect(outcomeText({ exit: given })).toBe(text);
});

it("marks ended terminals", () => {
  expect(exitMark(exit(0))).toBe("exit 0");
  expect(exitMark(exit(null))).toBe("machine ended");
  expect(exitMark(exit(null, 9))).toBe("signal 9");
});
