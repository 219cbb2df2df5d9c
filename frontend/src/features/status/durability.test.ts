import { expect, it } from "vitest";
import type { ConnectionState, Durability } from "@/session/model";
import { durabilityMark } from "./durability";

const open: ConnectionState = { state: "open" };
const away: ConnectionState = { state: "waiting", attempt: 1, retryAt: 0, reason: "closed" };
const unsaved = (since: number, keptLocally = true): Durability => ({
  state: "unsaved",
  edits: 3,
  since,
  keptLocally,
});
const mark = (
  durability: Durability,
  connection: ConnectionState = open,
  errors: [string | null, string | null] = [null, null],
) =>
  durabilityMark({
    durability,
    connection,
    server: { blob_store_error: errors[0], log_error: errors[1] },
    now: 10_000,
  });

it("says saving at first, and warns with the age after five seconds", () => {
  expect(mark(unsaved(9_000))).toMatchObject({ tone: "calm", mark: "busy" });
  expect(mark(unsaved(4_000))).toMatchObject({
    tone: "warn",
    text: "3 edits not confirmed for 6.0 s",
  });
});

it("counts edits that are not on the server while disconnected", () => {
  expect(mark(unsaved(9_900), away)).toMatchObject({
    tone: "warn",
    text: "3 edits not on the server yet",
  });
  expect(mark(unsaved(9_900, false), away).hint).toContain("Leave the page open");
});

it("shows one tick for the disk and two for the backup, never early", () => {
  expect(mark({ state: "on-disk" })).toMatchObject({ mark: "disk", tone: "good" });
  expect(mark({ state: "stored" })).toMatchObject({ mark: "stored", tone: "good" });
  expect(mark({ state: "idle" })).toMatchObject({ mark: "idle", tone: "calm" });
});

it("passes on what the server says is wrong", () => {
  expect(mark({ state: "on-disk" }, open, ["S3 is away", null])).toMatchObject({
    tone: "warn",
    hint: "S3 is away",
  });
  expect(mark({ state: "stored" }, open, [null, "disk full"])).toMatchObject({
    tone: "danger",
    hint: "disk full",
  });
});
