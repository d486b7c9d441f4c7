import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import { DecisionMemo } from "../../../src/decide/memo.ts";
import { namesToResolve } from "../../../src/decide/names-to-resolve.ts";
import type { Facts } from "../../../src/model/facts.ts";
import { compileScene } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";
import { bindings, firstPacket, payloads, SOURCE, world } from "./arbitraries.ts";

const WALKS = ["enforce", "all"] as const;

/** Every field of some facts, one at a time, as it is in others: neighbours that one slot must not take for each other. */
function mixed(a: Facts, b: Facts): Facts[] {
  const fields = Object.keys(a) as (keyof Facts)[];
  return fields.map((field) => ({ ...a, [field]: b[field] }));
}

describe("DecisionMemo", () => {
  test("property: answers as `decide` does, whatever it was asked before, in every epoch", () => {
    fc.assert(
      fc.property(world, world, fc.array(firstPacket, { minLength: 2, maxLength: 3 }), (one, other, firsts) => {
        const programs = [one, other].map((of) => compileScene({ ...of, workloads: [SOURCE] }));
        const ends = firsts.flatMap((first) => [first, ...bindings(first).flatMap(payloads)]).slice(0, 24);
        const all = [...ends, ...ends.flatMap((facts, i) => mixed(facts, ends[(i + 7) % ends.length]!))];
        const memo = new DecisionMemo();
        for (const program of [...programs, ...programs]) {
          const cls = program.classOf(SOURCE.id);
          for (const facts of [...all, ...all]) {
            for (const walk of WALKS) {
              expect(memo.decide(program, cls, facts, walk)).toEqual(decide(program, cls, facts, walk));
            }
            expect(memo.namesToResolve(program, cls, facts)).toEqual(namesToResolve(program, cls, facts));
          }
        }
      }),
      { numRuns: runs(12) },
    );
  });

  test("facts that were changed in place are other facts", () => {
    fc.assert(
      fc.property(world, firstPacket, firstPacket, (of, a, b) => {
        const program = compileScene({ ...of, workloads: [SOURCE] });
        const cls = program.classOf(SOURCE.id);
        const memo = new DecisionMemo();
        const facts: Record<string, unknown> = { ...a };
        for (const [field, value] of [...Object.entries(b), ...Object.entries(a)]) {
          memo.decide(program, cls, facts as unknown as Facts, "enforce");
          facts[field] = value;
          const now = facts as unknown as Facts;
          expect(memo.decide(program, cls, now, "enforce")).toEqual(decide(program, cls, now, "enforce"));
        }
      }),
      { numRuns: runs(100) },
    );
  });
});
