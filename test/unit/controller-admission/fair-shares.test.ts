import fc from "fast-check";
import { expect, test } from "vitest";
import { FairShares } from "../../../src/controller/admission/fair-shares.ts";

interface Named {
  readonly from: string;
  readonly name: string;
}

const one = (name: string): Named => ({ from: name[0] ?? "", name });
const names = (gone: readonly Named[]) => gone.map(({ name }) => name);

test("where it runs out, the address that has the most loses its largest", () => {
  const shares = new FairShares<Named>(10);
  const [a1, a2, b1] = [one("a1"), one("a2"), one("b1")];
  expect(names(shares.grow(a1, 3))).toEqual([]);
  expect(names(shares.grow(a2, 5))).toEqual([]);
  expect(names(shares.grow(b1, 4))).toEqual(["a2"]);
  expect([shares.size, shares.countOf("a"), shares.countOf("b")]).toEqual([7, 1, 1]);
  // Whoever would have the most is the one that goes.
  expect(names(shares.grow(one("b2"), 5))).toEqual(["b2"]);
});

test("what is released is free again, also a second time", () => {
  const shares = new FairShares<Named>(10);
  const a = one("a");
  shares.grow(a, 10);
  shares.release(a);
  shares.release(a);
  expect([shares.size, shares.countOf("a")]).toEqual([0, 0]);
  expect(shares.grow(one("b"), 10)).toEqual([]);
});

test("who has no more than its part never loses anything", () => {
  const step = fc.record({ from: fc.integer({ min: 0, max: 5 }), by: fc.integer({ min: 1, max: 40 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const MOST = 120;
      const shares = new FairShares<Named>(MOST);
      const modest = { from: "modest", name: "modest" };
      // Seven addresses at most.
      expect(shares.grow(modest, Math.floor(MOST / 7))).toEqual([]);
      for (const { from, by } of steps) {
        expect(shares.grow({ from: String(from), name: "" }, by)).not.toContain(modest);
        expect(shares.size).toBeLessThanOrEqual(MOST);
      }
    }),
  );
});
