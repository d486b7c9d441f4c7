import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endRecordOf, lostRecordOf, recordOf } from "../../../src/flow/describe.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import { formatLine, parseLine } from "../../../src/flow/line.ts";
import { LineWriter } from "../../../src/flow/line-writer.ts";
import { EventPacker } from "../../../src/flow/packed-event.ts";
import { FIELD, type FlowRecord } from "../../../src/flow/record.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { allowed, anyEvent, denied, event, tupleTo } from "./events.ts";

const pod: Workload = {
  id: 7,
  uid: "u",
  namespace: "app1-ns",
  name: "app1",
  labels: { "egress-ruleset": "app1", app: "one" },
  namespaceLabels: {},
  serviceAccount: "default",
  addresses: [],
  node: "node1",
};

test("one canonical line a decision", () => {
  expect(formatLine(recordOf(event({ audit: denied }), pod, "b1"))).toBe(
    '{"time":"2026-01-02T03:04:05.006Z","event":"decision","flowId":"b1-1","workload":{"namespace":"app1-ns","name":"app1",' +
      '"labels":{"app":"one","egress-ruleset":"app1"},"serviceAccount":"default","node":"node1"},' +
      '"source":{"address":"10.244.0.2","port":40000},"destination":{"name":"api.github.com","address":"192.0.2.1","port":443},' +
      '"protocol":"TCP","application":"TLS","action":"Allow","policy":"ClusterEgressPolicy/app1","rule":"github",' +
      '"reason":"RuleMatched","audit":{"action":"Deny","reason":"DefaultDeny"}}',
  );
});

test("the end of a flow", () => {
  const end = {
    flowId: 1,
    time: 0,
    tuple: tupleTo(40000),
    name: null,
    application: "TLS",
    decision: allowed,
    counts: { sent: { packets: 3, bytes: 400 }, received: { packets: 4, bytes: 5000 }, durationMs: 1200 },
    closedBy: "server",
  };
  const record = endRecordOf(end, null, "b1");
  expect(record).not.toHaveProperty("workload");
  expect(record).toMatchObject({ event: "end", sent: { packets: 3 }, closedBy: "server", destination: { port: 443 } });
  expect(parseLine(formatLine(record))).toEqual(record);
  expect(parseLine(formatLine(lostRecordOf(5, 0)))).toEqual({
    time: "1970-01-01T00:00:00.000Z",
    event: "lost",
    lost: 5,
  });
});

test("the query never gets into a record", () => {
  const record = recordOf(event({ kind: "request", method: "GET", path: "/a/b?token=secret" }), pod, "b1");
  expect(record.path).toBe("/a/b");
  expect(record.event).toBe("request");
});

test("ICMP has no ports", () => {
  const record = recordOf(event({ tuple: { ...tupleTo(77), protocol: 58, serverPort: 0 } }), pod, "b1");
  expect(record.protocol).toBe("ICMP");
  expect(record.source).toEqual({ address: "10.244.0.2" });
});

describe("hostile text", () => {
  const rows: [string, string][] = [
    ["a line feed", "/a\n{}"],
    ["a carriage return", "/a\r"],
    ["an escape sequence", "/\u001b[2J"],
    ["a C1 control", "/\u009b31m"],
    ["DEL", "/\u007f"],
    ["a line separator", "/\u2028"],
    ["right-to-left override", "/\u202egpj"],
    ["half a surrogate pair", "/\ud800"],
    ["a byte order mark", "\ufeff/"],
  ];
  test.each(rows)("%s is escaped", (_, path) => {
    const record: FlowRecord = { time: "t", event: "request", path };
    const line = formatLine(record);
    expect(line).toMatch(/^[\u0020-\u007e]*$/);
    expect(parseLine(line)).toEqual(record);
  });
});

const text = fc.string({ unit: "binary", maxLength: 30 });
const count = fc.record({ packets: fc.nat(), bytes: fc.nat() }, { noNullPrototype: true });
const workload = fc.record(
  {
    namespace: text,
    name: text,
    labels: fc.dictionary(text, text, { noNullPrototype: true }),
    serviceAccount: text,
    node: text,
  },
  { requiredKeys: ["namespace", "name", "labels", "serviceAccount"], noNullPrototype: true },
);
const outcome = fc.record(
  { action: text, policy: text, rule: text, reason: text },
  { requiredKeys: ["action", "reason"], noNullPrototype: true },
);
const record = fc.record(
  {
    time: text,
    event: fc.constantFrom("decision", "end", "request", "dns", "lost"),
    flowId: text,
    workload,
    source: fc.record({ address: text, port: fc.nat() }, { requiredKeys: ["address"], noNullPrototype: true }),
    destination: fc.record(
      { name: text, address: text, port: fc.nat() },
      { requiredKeys: ["address"], noNullPrototype: true },
    ),
    protocol: text,
    application: text,
    method: text,
    path: text,
    action: text,
    policy: text,
    rule: text,
    reason: text,
    audit: outcome,
    sent: count,
    received: count,
    durationMs: fc.nat(),
    closedBy: text,
    lost: fc.nat(),
  },
  { requiredKeys: ["time", "event"], noNullPrototype: true },
) as fc.Arbitrary<FlowRecord>;

test("property: reading a written line gives the record; keys stand in one order; one line", () => {
  fc.assert(
    fc.property(record, (value) => {
      const line = formatLine(value);
      expect(parseLine(line)).toEqual(value);
      expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      const order = Object.values(FIELD) as string[];
      const places = Object.keys(JSON.parse(line)).map((key) => order.indexOf(key));
      expect(places).toEqual([...places].sort((a, b) => a - b));
      const shuffled = Object.fromEntries(Object.entries(value).reverse()) as unknown as FlowRecord;
      expect(formatLine(shuffled)).toBe(line);
    }),
  );
});

test("property: any line is a record or null", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      parseLine(line);
    }),
  );
  const broken = [
    '{"time":"t","event":"x"}',
    '{"event":"end"}',
    '{"time":"t","event":"end","sent":{"packets":"1"}}',
    "null",
    "[]",
  ];
  for (const line of broken) expect(parseLine(line)).toBeNull();
  expect(parseLine('{"time":"t","event":"end","unknown":1}')).toEqual({ time: "t", event: "end" });
});

describe("a line straight from a packed event", () => {
  const writer = new LineWriter();
  const packer = new EventPacker();
  const page = { bytes: new Uint8Array(1 << 16), length: 0 };
  const text = (write: () => void): string => {
    page.length = 0;
    write();
    return new TextDecoder().decode(page.bytes.subarray(0, page.length));
  };
  const lineOf = (one: FlowEvent, owner: Workload | null, run: string): string =>
    text(() => {
      const packed = packer.pack(one);
      const room = writer.room(packed, owner);
      writer.event(page, packed, owner, run);
      expect(page.length).toBeLessThanOrEqual(room);
    });

  test("is the line of its record", () => {
    fc.assert(
      fc.property(anyEvent(fc.string({ unit: "binary", maxLength: 40 })), fc.boolean(), (one, owned) => {
        const owner = owned ? pod : null;
        const stored = wellFormed(one);
        expect(lineOf(one, owner, "a1b2c3d4")).toBe(`${formatLine(recordOf(stored, owner, "a1b2c3d4"))}\n`);
      }),
    );
  });

  test.each([
    ["a query", "/a?token=secret", "/a"],
    ["a fragment", "/a#b", "/a"],
    ["a query behind text that needs escapes", '/"é?token=secret', '/"é'],
    ["no query", "/a/b", "/a/b"],
  ])("%s is left out of the path", (_, path, written) => {
    const line = lineOf(event({ kind: "request", method: "GET", path }), pod, "b1");
    expect(parseLine(line)?.path).toBe(written);
    expect(line).not.toContain("secret");
  });

  test("fits into its room also when every byte of every text is escaped", () => {
    const bad = (length: number) => "\u0001".repeat(length);
    lineOf(event({ name: bad(255), method: bad(32), path: bad(1024), audit: denied }), pod, "b1");
  });

  test("lines follow one another, of whatever kind, run and time", () => {
    const one = text(() => {
      writer.event(page, packer.pack(event({ flowId: 3_000_000_000 })), pod, "b1");
      writer.event(page, packer.pack(event({ kind: "dns", time: 1 })), null, "b2");
      writer.event(page, packer.pack(event()), pod, "b1");
    });
    const records = one
      .split("\n")
      .slice(0, -1)
      .map((line) => parseLine(line));
    expect(records.map((record) => `${record?.flowId} ${record?.event} ${record?.time}`)).toEqual([
      "b1-3000000000 decision 2026-01-02T03:04:05.006Z",
      "b2-1 dns 1970-01-01T00:00:00.001Z",
      "b1-1 decision 2026-01-02T03:04:05.006Z",
    ]);
  });

  test("the end of a flow is the line of its record", () => {
    const flow = event({ method: "GET", path: "/a", audit: denied });
    const { flowId, tuple, name, application, decision } = flow;
    const packed = { sentPackets: 3, sentBytes: 400, receivedPackets: 4, receivedBytes: 5e10, durationMs: 1200 };
    const told = { sent: { packets: 3, bytes: 400 }, received: { packets: 4, bytes: 5e10 }, durationMs: 1200 };
    for (const known of [true, false]) {
      const end = { time: 61_000, closedBy: known ? "closed" : "unknown" };
      const what = { flowId, tuple, name, application, decision, ...end };
      const record = endRecordOf({ ...what, counts: known ? told : null }, pod, "b1");
      expect(record.closedBy).toBe(end.closedBy);
      expect(
        text(() => writer.end(page, packer.pack(flow), { ...end, counts: known ? packed : null }, pod, "b1")),
      ).toBe(`${formatLine(record)}\n`);
    }
  });
});

/** As UTF-8 can hold it. */
function wellFormed(one: FlowEvent): FlowEvent {
  const fix = (value: string | null): string | null => value?.toWellFormed() ?? null;
  return { ...one, name: fix(one.name), path: fix(one.path) };
}
