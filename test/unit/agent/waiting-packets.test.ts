import fc from "fast-check";
import { expect, test } from "vitest";
import { WaitingPackets } from "../../../src/agent/waiting-packets.ts";

test("a ticket is one packet's until it has its verdict, then another's", () => {
  const waiting = new WaitingPackets();
  const first = waiting.add(0, 7, 0x4000);
  const second = waiting.add(1, 7, 0);
  expect(first).not.toBe(second);
  expect([waiting.queueOf(first), waiting.idOf(first), waiting.markOf(first)]).toEqual([0, 7, 0x4000]);
  expect(waiting.queueOf(second)).toBe(1);
  waiting.remove(first);
  waiting.remove(first);
  expect([waiting.has(first), waiting.queueOf(first), waiting.size]).toEqual([false, -1, 1]);
  expect(waiting.add(0, 8, 1)).toBe(first);
});

test("whatever the order, each waiting packet is found by its ticket alone", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant("add"), fc.nat(5000)), { maxLength: 4000 }), (steps) => {
      const waiting = new WaitingPackets();
      const model = new Map<number, number>();
      let id = 0;
      for (const step of steps) {
        if (step === "add") {
          id++;
          const ticket = waiting.add(id % 2, id, id * 3);
          expect(model.has(ticket)).toBe(false);
          model.set(ticket, id);
        } else {
          const ticket = [...model.keys()][Number(step) % Math.max(1, model.size)];
          if (ticket === undefined) continue;
          waiting.remove(ticket);
          model.delete(ticket);
        }
      }
      expect(waiting.size).toBe(model.size);
      for (const [ticket, known] of model) {
        expect([waiting.queueOf(ticket), waiting.idOf(ticket), waiting.markOf(ticket)]).toEqual([
          known % 2,
          known,
          known * 3,
        ]);
      }
    }),
    { numRuns: 20 },
  );
});

test("more may wait than there were slots", () => {
  const waiting = new WaitingPackets();
  const tickets = Array.from({ length: 5000 }, (_, i) => waiting.add(0, i, i));
  expect(new Set(tickets).size).toBe(5000);
  expect(tickets.every((ticket, i) => waiting.idOf(ticket) === i)).toBe(true);
});
