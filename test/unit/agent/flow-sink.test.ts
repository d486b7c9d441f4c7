import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FlowFile, type FlowTarget } from "../../../src/agent/flow-file.ts";
import { FlowSink } from "../../../src/agent/flow-sink.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-sink-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Takes lines while `room` lasts; stalls while `stalled`. */
class Target implements FlowTarget {
  lines: string[] = [];
  room = Infinity;
  stalled: Promise<void> | null = null;
  closed = 0;
  async write(bytes: Buffer): Promise<void> {
    await this.stalled;
    const lines = bytes.toString("utf8").split("\n").slice(0, -1);
    if (lines.length > this.room) throw new Error("no room");
    this.room -= lines.length;
    this.lines.push(...lines);
  }
  async close(): Promise<void> {
    this.closed++;
  }
}

function sinkTo(target: FlowTarget) {
  const troubles: string[] = [];
  const sink = new FlowSink({
    target,
    lostLine: (count) => `lost ${count}`,
    onTrouble: (message, lost) => troubles.push(`${message} ${lost}`),
  });
  return { sink, troubles };
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("lines come out whole and in order", async () => {
  const target = new Target();
  const { sink } = sinkTo(target);
  for (let i = 0; i < 1_000; i++) sink.write(`line ${i}`);
  await sink.close();
  expect(target.lines).toEqual(Array.from({ length: 1_000 }, (_, i) => `line ${i}`));
  expect(sink.counts).toMatchObject({ written: 1_000, lost: 0, pendingBytes: 0 });
});

test("what a slow target cannot take is bounded, counted and said", async () => {
  const target = new Target();
  let release = (): void => undefined;
  target.stalled = new Promise((resolve) => {
    release = resolve;
  });
  const { sink } = sinkTo(target);
  const line = "x".repeat(1_000);
  for (let i = 0; i < 20_000; i++) sink.write(line);
  expect(sink.counts.lost).toBeGreaterThan(10_000);
  expect(sink.counts.pendingBytes).toBeLessThanOrEqual(8 * 1024 * 1024);
  release();
  await wait(200);
  await sink.close();
  const said = target.lines.filter((one) => one.startsWith("lost ")).map((one) => Number(one.slice(5)));
  expect(said.reduce((sum, count) => sum + count, 0)).toBe(sink.counts.lost);
  expect(target.lines.length - said.length + sink.counts.lost).toBe(20_000);
});

test("a target without room: what fits is kept, the rest is counted, and said once there is room", async () => {
  const target = new Target();
  target.room = 40;
  const { sink, troubles } = sinkTo(target);
  const line = "x".repeat(1_000);
  for (let i = 0; i < 100; i++) sink.write(`${i} ${line}`);
  await wait(100);
  expect(troubles).toHaveLength(1);
  const kept = target.lines.length;
  expect(kept).toBeGreaterThan(10);
  target.room = Infinity;
  sink.write("after");
  await wait(1_200);
  await sink.close();
  const said = target.lines.filter((one) => one.startsWith("lost ")).map((one) => Number(one.slice(5)));
  expect(target.lines.at(-2)).toBe("after");
  expect(said).toEqual([sink.counts.lost]);
  expect(target.lines.length - said.length + sink.counts.lost).toBe(101);
  sink.write("too late");
  expect(sink.counts.lost).toBe((said[0] ?? 0) + 1);
});

test("what is lost is said without another line, also when lines came while the target failed", async () => {
  const target = new Target();
  target.room = 0;
  let release = (): void => undefined;
  target.stalled = new Promise((resolve) => {
    release = resolve;
  });
  const { sink, troubles } = sinkTo(target);
  sink.write("first");
  await wait(80);
  sink.write("second");
  release();
  await wait(80);
  expect(troubles).toHaveLength(1);
  target.room = Infinity;
  await wait(1_200);
  expect(target.lines).toEqual(["second", "lost 1"]);
  await sink.close();
});

test("closing does not wait for a target that takes nothing", async () => {
  const target = new Target();
  target.stalled = new Promise(() => undefined);
  const { sink } = sinkTo(target);
  sink.write("line");
  await wait(80);
  const begun = performance.now();
  await sink.close();
  expect(performance.now() - begun).toBeLessThan(1_000);
  expect(target.closed).toBe(1);
});

test("lines lost before they came here are said too", async () => {
  const target = new Target();
  const { sink } = sinkTo(target);
  sink.countLost(7);
  await wait(100);
  await sink.close();
  expect(target.lines).toEqual(["lost 7"]);
});

test("files are rotated by size and the oldest goes", async () => {
  const path = join(folder, "flows");
  const file = new FlowFile({ path, maxSize: 100, keep: 2 });
  for (let i = 0; i < 10; i++) await file.write(Buffer.from(`${i}${"x".repeat(38)}\n`));
  await file.close();
  const first = (name: string): string[] =>
    readFileSync(name, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => line[0] ?? "");
  expect([first(path), first(`${path}.1`), first(`${path}.2`)]).toEqual([
    ["8", "9"],
    ["6", "7"],
    ["4", "5"],
  ]);
  expect(existsSync(`${path}.3`)).toBe(false);
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test("one batch over the size goes into as many files as it needs; a single line may be longer", async () => {
  const path = join(folder, "flows");
  const file = new FlowFile({ path, maxSize: 50, keep: 5 });
  await file.write(Buffer.from(`${"a".repeat(29)}\n${"b".repeat(29)}\n${"c".repeat(80)}\n`));
  await file.close();
  expect([path, `${path}.1`, `${path}.2`].map((name) => statSync(name).size)).toEqual([81, 30, 30]);
});

test("keep 0: the file begins anew", async () => {
  const path = join(folder, "flows");
  const file = new FlowFile({ path, maxSize: 10, keep: 0 });
  for (const line of ["first 89\n", "second 8\n"]) await file.write(Buffer.from(line));
  await file.close();
  expect(readFileSync(path, "utf8")).toBe("second 8\n");
  expect(existsSync(`${path}.1`)).toBe(false);
});

test("a file that is there is continued", async () => {
  const path = join(folder, "flows");
  for (const line of ["one\n", "two\n"]) {
    const file = new FlowFile({ path, maxSize: 1_000, keep: 1 });
    await file.write(Buffer.from(line));
    await file.close();
  }
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
});
