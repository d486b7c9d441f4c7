import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BufferPool } from "../../../src/inspector/buffer-pool.ts";
import { Deadlines, type Timed } from "../../../src/inspector/deadlines.ts";
import { type FlowEntry, FlowTable, newFlowKey } from "../../../src/inspector/flow-table.ts";
import { Stream } from "../../../src/inspector/stream.ts";
import { ascii } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";

const text = (stream: Stream) => String.fromCharCode(...stream.buffer.subarray(0, stream.unread));
const offer = (stream: Stream, at: number, bytes: string) => stream.offer(at, ascii(bytes), 0, bytes.length);

describe("Stream", () => {
  test("puts segments in order and tells what they were", () => {
    const stream = new Stream(0, 100, 100, new BufferPool());
    expect(offer(stream, 0, "abc")).toBe("new");
    expect(offer(stream, 6, "ghi")).toBe("future");
    expect(offer(stream, 1, "bc")).toBe("old");
    expect(offer(stream, 2, "cde")).toBe("new");
    expect(offer(stream, 5, "f")).toBe("new");
    expect(text(stream)).toBe("abcdefghi");
    expect(offer(stream, 4, "eXg")).toBe("differs");
    expect(offer(stream, -1, "_")).toBe("forgotten");
    expect(offer(stream, 9, "x".repeat(100))).toBe("full");
  });

  test("finds the offset of a sequence number across the wrap", () => {
    const stream = new Stream(0xfffffffe, 100, 100, new BufferPool());
    expect([0xfffffffd, 0xfffffffe, 0xffffffff, 0, 1].map((seq) => stream.offsetOf(seq))).toEqual([-1, 0, 1, 2, 3]);
    expect([0, 1, 2, 3].map((at) => stream.seqOf(at))).toEqual([0xfffffffe, 0xffffffff, 0, 1]);
  });

  test("offsets go on beyond four gigabytes", () => {
    const stream = new Stream(5, 10, 0, new BufferPool());
    stream.next = stream.bufferStart = stream.floor = 0x1_0000_0003;
    expect(stream.seqOf(stream.next)).toBe(8);
    expect(stream.offsetOf(9)).toBe(0x1_0000_0004);
    expect(offer(stream, 0x1_0000_0003, "a")).toBe("new");
  });

  test("keeps what was read, as much as it should, and lets opaque bytes differ", () => {
    const stream = new Stream(0, 100, 4, new BufferPool());
    offer(stream, 0, "headDATAtail");
    stream.settle(4, false);
    stream.settle(8, true);
    expect(offer(stream, 0, "headdatat")).toBe("old");
    expect(offer(stream, 0, "hexd")).toBe("differs");
    stream.settle(12, false);
    expect(stream.floor).toBe(4);
    expect(offer(stream, 0, "hexd")).toBe("forgotten");
    expect(offer(stream, 8, "tail")).toBe("old");
    expect(offer(stream, 8, "tell")).toBe("differs");
  });

  test("knows nothing of the flow that had its buffer before", () => {
    const pool = new BufferPool();
    const before = new Stream(0, 100, 100, pool);
    offer(before, 0, "secret");
    const lent = before.buffer;
    before.release();
    const stream = new Stream(0, 100, 100, pool);
    expect(offer(stream, 0, "ab")).toBe("new");
    expect(stream.buffer).toBe(lent);
    expect(text(stream)).toBe("ab");
    expect(offer(stream, 0, "abX")).toBe("new");
    expect(offer(stream, 0, "abc")).toBe("differs");
    expect([before.unread, before.memory, offer(before, 0, "secret")]).toEqual([0, 0, "forgotten"]);
    expect(text(stream)).toBe("abX");
  });

  test("property: any segmentation and order of a text, with copies, gives the text", () => {
    const whole = "the quick brown fox jumps over the lazy dog";
    const piece = fc.tuple(fc.nat(whole.length), fc.nat(whole.length));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.nat(0xffffffff), (pieces, isn) => {
        const stream = new Stream(isn, 1000, 1000, new BufferPool());
        const all = [...pieces.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const), [0, whole.length] as const];
        for (const [from, to] of all) {
          if (from === to) continue;
          const outcome = stream.offer(stream.offsetOf((isn + from) >>> 0), ascii(whole), from, to);
          expect(["new", "old", "future"]).toContain(outcome);
          expect(whole.startsWith(text(stream))).toBe(true);
        }
        expect(text(stream)).toBe(whole);
        expect(stream.waiting).toBe(0);
      }),
    );
  });

  test("property: one changed byte among copies is always found", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 60 }), fc.nat(), fc.nat(), fc.nat(), (bytes, a, b, c) => {
        const stream = new Stream(1, 1000, 1000, new BufferPool());
        const at = a % bytes.length;
        const from = Math.min(at, b % bytes.length);
        const to = Math.max(at + 1, c % (bytes.length + 1));
        const changed = bytes.slice();
        changed[at] = changed[at]! ^ 1;
        if (stream.offer(0, bytes, 0, bytes.length) !== "new") throw new Error("not new");
        expect(stream.offer(from, changed, from, to)).toBe("differs");
      }),
    );
  });

  test("memory stays within the bound however hostile the segments", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5000), fc.nat(1500)), { maxLength: 200 }), (pieces) => {
        const stream = new Stream(0, 4096, 1024, new BufferPool());
        const zeros = new Uint8Array(1500);
        for (const [at, size] of pieces) if (size > 0) stream.offer(at, zeros, 0, size);
        expect(stream.memory).toBeLessThanOrEqual(4096 * 4);
      }),
      { numRuns: runs(50) },
    );
  });
});

describe("FlowTable", () => {
  const make = (port: number, address: number): FlowEntry => ({
    ...newFlowKey(),
    protocol: 6,
    c3: address,
    clientPort: port,
    hash: 0,
    bucketNext: null,
  });

  test("finds what was put in, and nothing after it was taken out", () => {
    const table = new FlowTable<FlowEntry>(42);
    const entries = Array.from({ length: 5000 }, (_, i) => make(i & 0xff, i >>> 8));
    for (const entry of entries) table.add(entry);
    expect(entries.every((entry) => table.find({ ...entry }) === entry)).toBe(true);
    for (const entry of entries.filter((_, i) => i % 2 === 0)) expect(table.remove(entry)).toBe(true);
    expect(table.size).toBe(2500);
    expect(entries.filter((entry) => table.find(entry) !== null).length).toBe(2500);
    expect(table.remove(entries[0]!)).toBe(false);
    expect(table.all().length).toBe(2500);
  });
});

describe("Deadlines", () => {
  test("property: each item is due once, in time, at its last deadline", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(100)), { maxLength: 60 }), (moves) => {
        const deadlines = new Deadlines<Timed & { id: number }>();
        const items = Array.from({ length: 10 }, (_, id) => ({ id, deadline: Infinity, listedAt: Infinity }));
        const wanted = new Map<number, number>();
        for (const [id, at] of moves) {
          if (at === 0) {
            deadlines.clear(items[id]!);
            wanted.delete(id);
          } else {
            deadlines.set(items[id]!, at);
            wanted.set(id, at);
          }
        }
        for (let now = 0; now <= 100; now++) {
          if (wanted.size > 0) expect(deadlines.next()).toBeLessThanOrEqual(Math.min(...wanted.values()));
          for (let item = deadlines.due(now); item !== null; item = deadlines.due(now)) {
            expect(wanted.get(item.id)).toBe(now);
            wanted.delete(item.id);
          }
        }
        expect(wanted.size).toBe(0);
        expect(deadlines.next()).toBe(Infinity);
      }),
    );
  });
});
