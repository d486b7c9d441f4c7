import fc from "fast-check";
import { expect, test } from "vitest";
import { WaitingPackets } from "../../../src/agent/waiting-packets.ts";

function read(waiting: WaitingPackets, ticket: number) {
  const slot = waiting.find(ticket);
  return slot < 0 ? null : [waiting.queueAt(slot), waiting.idAt(slot), waiting.markAt(slot)];
}

test("a ticket finds its packet until the verdict, then nothing, however many packets follow", () => {
  const waiting = new WaitingPackets();
  const first = waiting.add(0, 7, 0xffff_4000);
  const second = waiting.add(1, 7, 0);
  expect([read(waiting, first), read(waiting, second)]).toEqual([
    [0, 7, 0xffff_4000],
    [1, 7, 0],
  ]);
  waiting.removeAt(waiting.find(first));
  for (let id = 0; id < 5_000; id++) {
    expect(read(waiting, first)).toBeNull();
    waiting.removeAt(waiting.find(waiting.add(0, id, 0)));
  }
  expect([read(waiting, second), waiting.size]).toEqual([[1, 7, 0], 1]);
});

test("what is no ticket finds nothing", () => {
  const waiting = new WaitingPackets();
  expect([0, 1, -1, 1024].map((ticket) => waiting.find(ticket))).toEqual([-1, -1, -1, -1]);
});

test("whatever the order, each waiting packet is found by its ticket alone", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant("add"), fc.nat(5000)), { maxLength: 4000 }), (steps) => {
      const waiting = new WaitingPackets();
      const model = new Map<number, number>();
      const answered: number[] = [];
      let id = 0;
      for (const step of steps) {
        if (step === "add") {
          id++;
          const ticket = waiting.add(id % 2, id, id * 3);
          expect(model.has(ticket)).toBe(false);
          model.set(ticket, id);
          continue;
        }
        const ticket = [...model.keys()][Number(step) % Math.max(1, model.size)];
        if (ticket === undefined) continue;
        waiting.removeAt(waiting.find(ticket));
        model.delete(ticket);
        answered.push(ticket);
      }
      expect(waiting.size).toBe(model.size);
      for (const [ticket, known] of model) expect(read(waiting, ticket)).toEqual([known % 2, known, known * 3]);
      for (const ticket of answered) expect(read(waiting, ticket)).toBeNull();
    }),
    { numRuns: 20 },
  );
});

test("more may wait than there were places, between packets that were held for long", () => {
  const waiting = new WaitingPackets();
  const held = Array.from({ length: 300 }, (_, i) => waiting.add(0, i, i));
  for (let i = 0; i < 3_000; i++) waiting.removeAt(waiting.find(waiting.add(1, i, 0)));
  const tickets = [...held, ...Array.from({ length: 16_384 }, (_, i) => waiting.add(0, 300 + i, 300 + i))];
  expect([new Set(tickets).size, waiting.size]).toEqual([16_684, 16_684]);
  expect(tickets.filter((ticket, i) => waiting.idAt(waiting.find(ticket)) !== i)).toEqual([]);
});
