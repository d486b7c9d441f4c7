import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_HEAD, frame, HEADER, RECORD_HEAD, readJournal } from "../../../src/agent/journal/frame.ts";
import type { JournalRecord } from "../../../src/agent/journal/record.ts";
import { ipv4 } from "../../../src/net/address.ts";
import { parseDnsName } from "../../../src/net/name.ts";
import { runs } from "../../support/runs.ts";
import { factsTo } from "../flow/events.ts";
import { binding, closed, frameOf, journalOf, opened } from "./records.ts";

function read(bytes: Buffer) {
  const records: JournalRecord[] = [];
  return { ...readJournal(bytes, (record) => records.push(record)), all: records };
}

const SOME = [
  binding("api.github.com", 4e12, "uid-1", ["github.github.io"]),
  opened(40_000),
  opened(40_001, "ns/pod/2026-01-01T00:00:00Z"),
  closed(40_000),
];

describe("what is written can be read", () => {
  test("every kind of record, in order", () => {
    expect(read(journalOf(...SOME))).toMatchObject({ records: 4, refused: 0, torn: 0, all: SOME });
  });

  test("a method and a path come back, and what was unknown stays unknown", () => {
    const facts = { ...factsTo("api.github.com"), method: "GET", path: "/a", evidence: undefined };
    expect(read(journalOf(opened(1, "uid-1", { facts }))).all).toEqual([opened(1, "uid-1", { facts })]);
  });

  test("half a chain of aliases is never written", () => {
    const aliases = Array.from({ length: 256 }, (_, at) => `${"a".repeat(60)}.${at}.example`);
    expect(frameOf(binding("long.example", 4e12, "uid-1", aliases))).toBeNull();
  });
});

describe("what is not whole", () => {
  const whole = journalOf(...SOME);

  test("cut at every byte: a prefix of the records, never a throw", () => {
    for (let length = 0; length <= whole.length; length++) {
      const { all, torn, version } = read(whole.subarray(0, length));
      expect(all).toEqual(SOME.slice(0, all.length));
      if (length < whole.length && version !== null) expect(torn > 0 || all.length < SOME.length).toBe(true);
    }
  });

  test("one bit changed anywhere: only records that were written, up to the change", () => {
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
      const { all } = read(bytes);
      expect(all.length).toBeLessThan(SOME.length);
      expect(all).toEqual(SOME.slice(0, all.length));
    }
  });

  test("another version yields nothing and says which", () => {
    const bytes = Buffer.from(whole);
    bytes[HEADER.length - 1] = 9;
    expect(read(bytes)).toMatchObject({ records: 0, version: 9 });
  });

  test("zeroes, as a disk leaves them behind a crash, are no records", () => {
    expect(read(Buffer.concat([whole, Buffer.alloc(4096)]))).toMatchObject({ records: 4, torn: 4096 });
  });
});

describe("what an agent would not have written", () => {
  test.each<[string, JournalRecord]>([
    ["a name with a space", binding("no name.example")],
    ["a name in capitals", binding("API.github.com")],
    ["an alias that is none", binding("a.example", 4e12, "uid-1", ["-"])],
    ["an end that is no time", binding("a.example", Number.NaN)],
    ["an end beyond time", binding("a.example", 1e300)],
    ["a workload with a line break", binding("a.example", 4e12, "uid\n1")],
    ["no workload", binding("a.example", 4e12, "")],
    ["a run that is none", opened(1, "uid-1", { run: "../x" })],
    ["a negative id", opened(1, "uid-1", { flowId: -1 })],
    ["half an id", opened(1, "uid-1", { flowId: 0.5 })],
    [
      "a denied flow",
      opened(1, "uid-1", { decision: { action: "Deny", policy: null, rule: null, reason: "DefaultDeny" } }),
    ],
    ["facts of another address", opened(1, "uid-1", { facts: { ...factsTo("a.example"), address: ipv4(1) } })],
    ["facts of another port", opened(1, "uid-1", { facts: { ...factsTo("a.example"), port: 80 } })],
    ["facts of another protocol", opened(1, "uid-1", { facts: { ...factsTo("a.example"), protocol: 17 } })],
    ["evidence that is no name", opened(1, "uid-1", { facts: { ...factsTo("a.example"), evidence: "*" } })],
    ["a path with a line break", opened(1, "uid-1", { facts: { ...factsTo("a.example"), path: "/\n" } })],
    [
      "a rule with a line break",
      opened(1, "uid-1", { decision: { action: "Allow", policy: null, rule: "\n", reason: "RuleMatched" } }),
    ],
  ])("%s is refused, and the next record is read", (_, record) => {
    expect(read(journalOf(record, closed(2)))).toMatchObject({ records: 1, refused: 1, torn: 0, all: [closed(2)] });
  });

  test("property: any bytes with a good sum yield nothing, or a record whose names are names", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 0, max: 3 }), (bytes, kind) => {
        bytes[0] = kind;
        const { all } = read(Buffer.concat([HEADER, frame(bytes, bytes.length)]));
        for (const record of all) {
          if (record.kind === "binding") expect(parseDnsName(record.binding.name).ok).toBe(true);
          if (record.kind === "opened") expect(record.flow.decision.action).toBe("Allow");
        }
      }),
      { numRuns: runs(1_000) },
    );
  });

  test("property: good records with bytes changed and the sum mended never throw, and hold only names", () => {
    const record = fc.constantFrom(...SOME);
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(record, changes, (of, list) => {
        const body = Buffer.from((frameOf(of) as Buffer).subarray(FRAME_HEAD + RECORD_HEAD));
        for (const [at, value] of list) body[at % body.length] = value;
        const { all } = read(Buffer.concat([HEADER, frame(body, body.length)]));
        for (const one of all) {
          if (one.kind !== "opened") continue;
          const { names, aliases, evidence } = one.flow.facts;
          const texts = [...names, ...aliases, ...(typeof evidence === "string" ? [evidence] : [])];
          expect(texts.every((text) => parseDnsName(text).ok)).toBe(true);
        }
      }),
      { numRuns: runs(1_000) },
    );
  });
});
