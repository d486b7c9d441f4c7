import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { flowFilter, parseSince } from "../../../src/cli/flow-filter.ts";
import { followLines, LineCutter, readLines } from "../../../src/cli/flow-lines.ts";
import { FlowSummarizer, summaryText } from "../../../src/cli/flow-summary.ts";
import { recordText } from "../../../src/cli/flow-text.ts";
import type { FlowRecord } from "../../../src/flow/record.ts";

const NOW = Date.parse("2026-01-31T12:00:00.000Z");
const folder = mkdtempSync(join(tmpdir(), "sallyport-flows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function record(more: Partial<FlowRecord> = {}): FlowRecord {
  return {
    time: "2026-01-31T11:55:00.000Z",
    event: "decision",
    flowId: "a-1",
    workload: { namespace: "app1-ns", name: "app1", labels: {}, serviceAccount: "default" },
    destination: { name: "api.github.com", address: "198.51.100.21", port: 443 },
    protocol: "TCP",
    application: "TLS",
    action: "Allow",
    policy: "ClusterEgressPolicy/app1",
    rule: "github",
    reason: "RuleMatched",
    ...more,
  };
}

describe("filters", () => {
  const v6 = record({ destination: { address: "2001:db8::1", port: 22 } });
  const rows: readonly (readonly [Parameters<typeof flowFilter>[0], FlowRecord, boolean])[] = [
    [{}, record(), true],
    [{ from: "app1-ns" }, record(), true],
    [{ from: "app1-ns/app1" }, record(), true],
    [{ from: "app1-ns/app" }, record(), false],
    [{ from: "app1" }, record(), false],
    [{ to: "api.github.com" }, record(), true],
    [{ to: "API.GitHub.com." }, record(), true],
    [{ to: "github.com" }, record(), false],
    [{ to: "*.github.com" }, record(), true],
    [{ to: "198.51.100.21" }, record(), true],
    [{ to: "198.51.100.0/24" }, record(), true],
    [{ to: "203.0.113.0/24" }, record(), false],
    [{ to: "2001:db8:0::1" }, v6, true],
    [{ to: "2001:db8::/32" }, v6, true],
    [{ to: "0.0.0.0/0" }, v6, false],
    [{ action: "Deny" }, record(), false],
    [{ since: "10m" }, record(), true],
    [{ since: "4m" }, record(), false],
    [{ since: "2026-01-31T11:55:00Z" }, record(), true],
    [{ from: "app1-ns", to: "*.github.com", action: "Allow", since: "1h" }, record(), true],
    [{ from: "app1-ns", action: "Deny" }, record(), false],
  ];
  test.each(rows)("%j", (options, flow, kept) => expect(flowFilter(options, NOW)(flow)).toBe(kept));

  test.each(["", "10", "10 m", "-5m", "yesterday", "2026-13-01"])("--since %j is refused", (text) => {
    expect(() => parseSince(text, NOW)).toThrow("write 90s, 10m");
  });
  test.each(["a/b/c", "/a", "a/"])("--from %j is refused", (from) => {
    expect(() => flowFilter({ from }, NOW)).toThrow("write NAMESPACE");
  });
});

describe("lines", () => {
  test("chunks are cut wherever they fall, also inside a character", () => {
    const bytes = Buffer.from("één\n\ntwee\nrest");
    for (let at = 0; at <= bytes.length; at++) {
      const cutter = new LineCutter();
      const lines = [...cutter.push(bytes.subarray(0, at)), ...cutter.push(bytes.subarray(at)), ...cutter.end()];
      expect(lines).toEqual(["één", "", "twee", "rest"]);
    }
  });

  test("a line without end is not collected", () => {
    const cutter = new LineCutter();
    for (let i = 0; i < 40; i++) expect([...cutter.push(Buffer.alloc(1 << 16, "x"))]).toEqual([]);
    expect([...cutter.push(Buffer.from("x\nnext\n"))]).toEqual(["", "next"]);
  });

  test("a file is read to its end", async () => {
    const path = join(folder, "whole.log");
    writeFileSync(path, "one\ntwo\nthree");
    const lines: string[] = [];
    for await (const line of readLines(path)) lines.push(line);
    expect(lines).toEqual(["one", "two", "three"]);
  });

  test("following goes on after growth, rotation and truncation", async () => {
    const path = join(folder, "followed.log");
    writeFileSync(path, "one\n");
    const stop = new AbortController();
    const seen: string[] = [];
    const done = (async () => {
      for await (const line of followLines(path, stop.signal)) seen.push(line);
    })();
    const until = async (count: number) => {
      for (let i = 0; i < 100 && seen.length < count; i++) await sleep(20);
    };
    await until(1);
    appendFileSync(path, "tw");
    await sleep(250);
    appendFileSync(path, "o\n");
    await until(2);
    appendFileSync(path, "last of the old\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "first of the new\n");
    await until(4);
    truncateSync(path, 0);
    await sleep(300);
    appendFileSync(path, "after\n");
    await until(5);
    stop.abort();
    await done;
    expect(seen).toEqual(["one", "two", "last of the old", "first of the new", "after"]);
  });
});

test("summary", () => {
  const summary = new FlowSummarizer();
  const denied = {
    action: "Deny",
    policy: undefined,
    rule: undefined,
    reason: "DefaultDeny",
  } as unknown as Partial<FlowRecord>;
  summary.add(record());
  summary.add(record({ event: "end", sent: { packets: 3, bytes: 300 }, received: { packets: 4, bytes: 4000 } }));
  summary.add(
    record({ ...denied, time: "2026-01-31T11:56:00.000Z", destination: { address: "2001:db8::1", port: 22 } }),
  );
  summary.add(
    record({
      ...denied,
      destination: { address: "2001:db8::1", port: 22 },
      workload: { namespace: "b", name: "c", labels: {}, serviceAccount: "d" },
    }),
  );
  summary.add({ time: "2026-01-31T11:57:00.000Z", event: "lost", lost: 5 });
  expect(
    summaryText(summary.finish()),
  ).toBe(`1 allowed, 2 denied, 5 records lost, 2026-01-31T11:55:00.000Z to 2026-01-31T11:57:00.000Z

DESTINATION         PROTOCOL  ALLOWED  DENIED  SENT  RECEIVED
[2001:db8::1]:22    TCP       0        2       0     0
api.github.com:443  TCP       1        0       300   4000

DENIED BY  RULE  REASON       DENIED  WORKLOADS
-          -     DefaultDeny  2       2
`);
});

test("a log that somebody else wrote does nothing to a terminal", async () => {
  const text = await recordText({ time: "\u001b[2J", event: "lost", lost: 1 }, "table");
  expect(text).toContain("\\u001b[2J");
  expect(text).not.toContain("\u001b[2J");
});
