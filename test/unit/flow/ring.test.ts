import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteWriter, pageOf } from "../../../src/flow/bytes.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import { encodeEvent, MAX_EVENT_BYTES } from "../../../src/flow/event-codec.ts";
import { Outcome } from "../../../src/flow/outcome.ts";
import { PackedEvent } from "../../../src/flow/packed-event.ts";
import { createRing, RingReader, RingWriter } from "../../../src/flow/ring.ts";
import { runs } from "../../support/runs.ts";
import { anyEvent, event, factsTo } from "./events.ts";

function through(value: FlowEvent) {
  const writer = new ByteWriter(MAX_EVENT_BYTES);
  const length = encodeEvent(value, 0, 0, writer);
  const audit = value.audit === null ? null : new Outcome(value.audit);
  const packed = new PackedEvent();
  const opened = packed.open(pageOf(writer.bytes), 0, length, new Outcome(value.decision), audit);
  return { length, back: opened ? plain(packed) : null };
}

/** All that an event says, read one by one. */
function plain(packed: PackedEvent): FlowEvent {
  const { kind, flowId, time, workloadId, tuple, application, name, method, path, decision, audit, facts, state } =
    packed;
  return { kind, flowId, time, workloadId, tuple, application, name, method, path, decision, audit, facts, state };
}

describe("encoding", () => {
  test("property: what fits comes back as it was", () => {
    fc.assert(
      fc.property(anyEvent(), (value) => {
        const { back } = through(value);
        const first = value.facts?.names.find((n) => n === value.facts?.evidence);
        const names = value.facts?.names ?? [];
        const ordered = first === undefined ? names : [first, ...names.filter((n) => n !== first)];
        expect(back).toEqual({ ...value, facts: value.facts && { ...value.facts, names: ordered } });
      }),
    );
  });

  test("property: what is too long is cut, never torn, and never helps the flow", () => {
    const long = fc.string({ unit: "binary", minLength: 0, maxLength: 1500 });
    fc.assert(
      fc.property(anyEvent(long), long, (random, policy) => {
        const value = { ...random, decision: { ...random.decision, policy, rule: policy } };
        const { length, back } = through(value);
        expect(length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        expect(back).not.toBeNull();
        expect(back!.tuple).toEqual(value.tuple);
        if (value.path !== null) expect(value.path.toWellFormed().startsWith(back!.path!)).toBe(true);
        if (value.facts === null) return;
        const { facts } = back!;
        for (const key of ["evidence", "method", "path"] as const) {
          const kept = facts![key];
          if (kept !== undefined) expect(kept).toEqual(value.facts[key]?.toWellFormed() ?? null);
        }
        const names = value.facts.names.map((text) => text.toWellFormed());
        expect(facts!.names.every((text) => names.includes(text))).toBe(true);
        expect({ ...facts, names: 0, aliases: 0, evidence: 0, method: 0, path: 0 }).toEqual({
          ...value.facts,
          names: 0,
          aliases: 0,
          evidence: 0,
          method: 0,
          path: 0,
        });
      }),
      { numRuns: runs(100) },
    );
  });

  test("the name in the flow is kept however many names are bound, and however long the policy is called", () => {
    const names = Array.from({ length: 64 }, (_, i) => `n${i}.${"x".repeat(60)}.${"y".repeat(60)}.example`);
    const last = names[63]!;
    const policy = `EgressPolicy/${"n".repeat(253)}/${"p".repeat(253)}`;
    const decision = { ...event().decision, policy, rule: "r".repeat(63) };
    const { back } = through(
      event({
        decision,
        audit: decision,
        path: `/${"p".repeat(4000)}`,
        facts: { ...factsTo(last), names, path: `/${"p".repeat(4000)}` },
      }),
    );
    expect(back!.decision).toEqual(decision);
    expect(back!.facts!.evidence).toBe(last);
    expect(back!.facts!.names[0]).toBe(last);
    expect(back!.facts!.path).toBeUndefined();
  });

  test("property: arbitrary bytes are an event or null, never an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: MAX_EVENT_BYTES }), (bytes) => {
        const packed = new PackedEvent();
        if (packed.open(pageOf(bytes), 0, bytes.length, new Outcome(event().decision), null)) plain(packed);
      }),
    );
    const writer = new ByteWriter(MAX_EVENT_BYTES);
    const length = encodeEvent(event(), 0, 0, writer);
    for (let cut = 0; cut < length; cut++) {
      const packed = new PackedEvent();
      const opened = packed.open(pageOf(writer.bytes.slice(0, cut)), 0, cut, new Outcome(event().decision), null);
      if (opened) expect(packed.facts).toBeNull();
    }
  });
});

describe("how long the packet had waited", () => {
  test.each([
    [undefined, undefined],
    [0, 20],
    [20, 20],
    [20.5, 40],
    [300, 300],
    [301, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ])("%s ms: never shorter, unknown where it is long", (waited, back) => {
    const writer = new ByteWriter(MAX_EVENT_BYTES);
    const length = encodeEvent(event({ waited }), 0, 0, writer);
    const packed = new PackedEvent();
    expect(packed.open(pageOf(writer.bytes), 0, length, new Outcome(event().decision), null)).toBe(true);
    expect(packed.waited).toBe(back);
    expect(plain(packed)).toEqual(event());
  });
});

describe("ring", () => {
  test("a writer that begins at the start again does not make the ring look full", () => {
    const memory = createRing(32 * 1024 * 1024);
    const writer = new RingWriter(memory);
    const reader = new RingReader(memory);
    let most = 0;
    for (let i = 0; i < 100_000; i++) {
      writer.write(event({ flowId: i }));
      most = Math.max(most, writer.fill, reader.fill);
      // All but what is held, and then that as well, so that the writer finds it empty.
      while (reader.read() !== null);
      expect(reader.fill).toBe(0);
    }
    expect(most).toBeLessThan(0.001);
    while (writer.write(event()));
    expect(writer.fill).toBeGreaterThan(0.99);
  });

  test("property: any sequence of writes and reads loses only what was counted, in order, untorn", () => {
    const step = fc.oneof(
      fc.record({ write: fc.integer({ min: 1, max: 60 }), size: fc.integer({ min: 0, max: 3000 }) }),
      fc.record({ read: fc.integer({ min: 1, max: 60 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, nearWrap) => {
        const memory = createRing(1);
        if (nearWrap) new Int32Array(memory, 0, 2).fill(-4096);
        const writer = new RingWriter(memory);
        const reader = new RingReader(memory);
        const expected: [number, string][] = [];
        let next = 0;
        let lost = 0;
        for (const current of steps) {
          if ("write" in current) {
            for (let i = 0; i < current.write; i++) {
              const path = `/${"x".repeat((current.size * (i + 1)) % 1000)}`;
              next++;
              if (writer.write(event({ flowId: next, path }))) expected.push([next, path]);
              else lost++;
            }
          } else {
            for (let i = 0; i < current.read; i++) {
              const read = reader.read();
              const wanted = expected.shift();
              expect(read === null ? undefined : [read.flowId, read.path]).toEqual(wanted);
            }
          }
          expect(reader.lost()).toBe(lost);
        }
        for (const wanted of expected) expect(reader.read()!.flowId).toBe(wanted[0]);
        expect(reader.read()).toBeNull();
      }),
      { numRuns: runs(150) },
    );
  });

  test("a writer that replaces another goes on where it stood", () => {
    const memory = createRing(1);
    new RingWriter(memory).write(event({ flowId: 1 }));
    new RingWriter(memory).write(event({ flowId: 2 }));
    const reader = new RingReader(memory);
    expect([reader.read()?.flowId, reader.read()?.flowId, reader.read()]).toEqual([1, 2, null]);
  });

  test("rubbish in the ring is given up and counted", () => {
    const memory = createRing(1);
    const writer = new RingWriter(memory);
    writer.write(event());
    new Uint32Array(memory)[16] = 0x7fffffff;
    const reader = new RingReader(memory);
    expect(reader.read()).toBeNull();
    expect(reader.lost()).toBe(1);
    writer.write(event({ flowId: 9 }));
    expect(reader.read()?.flowId).toBe(9);
  });

  test("decisions are told once by number, also when there are more than numbers", () => {
    const memory = createRing(1 << 20);
    const writer = new RingWriter(memory);
    const reader = new RingReader(memory);
    const rules = Array.from({ length: 5_000 }, (_, i) => ({ ...event().decision, rule: `rule-${i}` }));
    for (let round = 0; round < 2; round++) {
      for (const [i, decision] of rules.entries()) {
        const audit = i % 3 === 0 ? rules[(i * 7) % rules.length]! : null;
        writer.write(event({ decision, audit }));
        const read = reader.read();
        expect([read?.decision, read?.audit]).toEqual([decision, audit]);
      }
    }
    const before = new Int32Array(memory, 0, 1)[0]!;
    writer.write(event({ decision: rules[4_999]! }));
    const one = new Int32Array(memory, 0, 1)[0]! - before;
    expect(one).toBeLessThan(200);
  });

  test("a large ring stays at its start as long as its reader keeps up", () => {
    const memory = createRing(1 << 23);
    const writer = new RingWriter(memory);
    const reader = new RingReader(memory);
    for (let flowId = 1; flowId < 50_000; flowId++) {
      writer.write(event({ flowId }));
      expect(reader.read()?.flowId).toBe(flowId);
      if (flowId % 100 === 0) expect(reader.read()).toBeNull();
    }
    const touched = new Uint8Array(memory).findLastIndex((byte) => byte !== 0);
    expect(touched).toBeLessThan(2 << 20);
  });

  test("two threads: everything arrives in order or is counted", async () => {
    const memory = createRing(64 * 1024);
    const total = 20_000;
    const source = `
      const { workerData } = require("node:worker_threads");
      (async () => {
        const { RingWriter } = await import(workerData.ring);
        const writer = new RingWriter(workerData.memory);
        for (let flowId = 1; flowId <= workerData.total; flowId++) {
          writer.write({ ...workerData.event, flowId, path: "/" + "x".repeat(flowId % 700) });
        }
      })();`;
    const ring = new URL("../../../src/flow/ring.ts", import.meta.url).href;
    const worker = new Worker(source, { eval: true, workerData: { ring, memory, total, event: event() } });
    let done = false;
    const exited = new Promise<void>((resolve, reject) => {
      worker.once("error", reject);
      worker.once("exit", () => {
        done = true;
        resolve();
      });
    });
    const reader = new RingReader(memory);
    let seen = 0;
    let last = 0;
    for (;;) {
      const over = done;
      for (let read = reader.read(); read !== null; read = reader.read()) {
        if (read.flowId <= last || read.path!.length !== 1 + (read.flowId % 700))
          throw new Error("torn or out of order");
        last = read.flowId;
        seen++;
      }
      if (over) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await exited;
    expect(seen + reader.lost()).toBe(total);
    expect(seen).toBeGreaterThan(0);
  });
});
