import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FlowEnding } from "../../../src/flow/ending.ts";
import { createEndingRing, EndingReader, EndingWriter } from "../../../src/flow/ending-ring.ts";
import { ipv4 } from "../../../src/net/address.ts";
import { address, port, tuple, tupleTo, word } from "./events.ts";

const count = fc.integer({ min: 0, max: 2 ** 50 });
const ending: fc.Arbitrary<FlowEnding> = fc.record(
  {
    flow: tuple,
    asked: address,
    askedPort: port,
    mark: word,
    stop: fc.double({ noNaN: true }),
    sentPackets: count,
    sentBytes: count,
    receivedPackets: count,
    receivedBytes: count,
    durationMs: fc.double({ noNaN: true }),
    lastSeen: fc.constantFrom("reset", "closed", "timeout"),
  },
  { noNullPrototype: true },
);

function plain(one: FlowEnding | null): FlowEnding | null {
  if (one === null) return null;
  const { flow, asked, askedPort, mark, stop, sentPackets, sentBytes, receivedPackets, receivedBytes } = one;
  const { durationMs, lastSeen } = one;
  const counts = { sentPackets, sentBytes, receivedPackets, receivedBytes };
  return { flow, asked, askedPort, mark, stop, ...counts, durationMs, lastSeen };
}

test("property: endings come out as they went in, in order", () => {
  const ring = createEndingRing();
  const writer = new EndingWriter(ring);
  const reader = new EndingReader(ring);
  fc.assert(
    fc.property(fc.array(ending, { maxLength: 20 }), (endings) => {
      for (const one of endings) writer.write(one, () => false);
      for (const one of endings) expect(plain(reader.read())).toEqual(one);
      expect(reader.read()).toBeNull();
    }),
  );
});

const some: FlowEnding = {
  flow: tupleTo(1),
  asked: ipv4(7),
  askedPort: 443,
  mark: 1,
  stop: 5,
  sentPackets: 1,
  sentBytes: 2,
  receivedPackets: 3,
  receivedBytes: 4,
  durationMs: 6,
  lastSeen: "closed",
};

test("a full ring makes the writer wait, as long as it is told to go on", () => {
  const ring = createEndingRing();
  const writer = new EndingWriter(ring);
  let asked = 0;
  for (let i = 0; i < 8_200; i++) writer.write({ ...some, mark: i }, () => ++asked % 2 === 1);
  expect(asked).toBe(16);
  const reader = new EndingReader(ring);
  let next = 0;
  for (let one = reader.read(); one !== null; one = reader.read()) expect(one.mark).toBe(next++);
  expect(next).toBe(8_192);
});

test("two threads: everything arrives, in order", async () => {
  const ring = createEndingRing();
  const total = 100_000;
  const source = `
    const { workerData } = require("node:worker_threads");
    (async () => {
      const { EndingWriter } = await import(workerData.file);
      const writer = new EndingWriter(workerData.ring);
      for (let mark = 0; mark < workerData.total; mark++) writer.write({ ...workerData.some, mark }, () => true);
      writer.overruns(3);
    })();`;
  const file = new URL("../../../src/flow/ending-ring.ts", import.meta.url).href;
  const worker = new Worker(source, { eval: true, workerData: { file, ring, total, some } });
  const exited = new Promise((resolve, reject) => worker.once("error", reject).once("exit", resolve));
  const reader = new EndingReader(ring);
  let next = 0;
  while (next < total) {
    for (let one = reader.read(); one !== null; one = reader.read()) {
      if (one.mark !== next++ || one.sentBytes !== 2) throw new Error("torn or out of order");
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await exited;
  expect([next, reader.overruns]).toEqual([total, 3]);
});

test("both numbers of overruns come through", () => {
  const ring = createEndingRing();
  const reader = new EndingReader(ring);
  expect([reader.overruns, reader.overrunsOver]).toEqual([0, 0]);
  new EndingWriter(ring).overruns(3, 2);
  expect([reader.overruns, reader.overrunsOver]).toEqual([3, 2]);
});
