import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide, decideBeforeRules, decideByRules } from "../../../src/decide/decide.ts";
import { explain } from "../../../src/decide/explain.ts";
import { gateName } from "../../../src/decide/gate.ts";
import { MOST_NAMES, namesToResolve } from "../../../src/decide/names-to-resolve.ts";
import type { Facts } from "../../../src/model/facts.ts";
import { compileScene } from "../../support/cases.ts";
import { opensByName, referenceDecide, ruleOf, type World } from "../../support/reference.ts";
import { runs } from "../../support/runs.ts";
import { bindings, firstPacket, NAMES, payloads, SOURCE, world } from "./arbitraries.ts";

const WALKS = ["enforce", "all"] as const;
const REFINED = new Set(["NotResolved", "NameMissing"]);

function open(of: World) {
  const program = compileScene({ ...of, workloads: [SOURCE] });
  return { program, cls: program.classOf(SOURCE.id) };
}

/** What lies between the first packet and the end of the facts. */
function middle(first: Facts, end: Facts): Facts[] {
  return [
    { ...first, namesFinal: true },
    { ...end, namesFinal: first.namesFinal, names: first.names, aliases: first.aliases, ended: false },
    { ...end, namesFinal: first.namesFinal, names: first.names, aliases: first.aliases, ended: false, path: undefined },
    { ...end, ended: false },
  ];
}

describe("the compiled program", () => {
  test("decides complete facts as the reference does", () => {
    fc.assert(
      fc.property(world, fc.array(firstPacket, { minLength: 4, maxLength: 4 }), (of, firsts) => {
        const { program, cls } = open(of);
        for (const facts of firsts.flatMap(payloads)) {
          for (const walk of WALKS) {
            const decision = decide(program, cls, facts, walk);
            const plain = decision && REFINED.has(decision.reason) ? { ...decision, reason: "DefaultDeny" } : decision;
            expect(plain).toEqual(referenceDecide(of, SOURCE, facts, walk));
          }
        }
      }),
      { numRuns: runs(400) },
    );
  });

  test("decides partial facts as every completion of them", () => {
    fc.assert(
      fc.property(world, firstPacket, (of, first) => {
        const { program, cls } = open(of);
        for (const walk of WALKS) {
          const early = decide(program, cls, first, walk);
          for (const bound of bindings(first)) {
            for (const end of payloads(bound)) {
              const { action } = referenceDecide(of, SOURCE, end, walk);
              if (early !== null) expect(early.action).toBe(action);
              for (const partial of middle(first, end)) {
                if (partial.namesFinal && partial.names !== end.names) continue;
                const later = decide(program, cls, partial, walk);
                if (later !== null) expect(later.action).toBe(action);
              }
            }
          }
        }
      }),
      { numRuns: runs(150) },
    );
  });

  test("decides past the rules that no port can meet as on the walk over all of them", () => {
    fc.assert(
      fc.property(world, firstPacket, fc.nat(65535), fc.nat(255), (of, given, port, protocol) => {
        const { program, cls } = open(of);
        for (const first of [given, { ...given, port }, { ...given, port: 53 }, { ...given, protocol }]) {
          for (const facts of [first, ...payloads(first).flatMap((end) => middle(first, end))]) {
            for (const walk of WALKS) {
              const whole = decideByRules(program, cls, facts, walk, () => ({ asked: () => undefined }));
              const before = decideBeforeRules(program, cls, facts, walk);
              expect(decide(program, cls, facts, walk)).toEqual(before ?? whole);
            }
          }
        }
      }),
      { numRuns: runs(100) },
    );
  });

  test("is never undecided when facts have ended", () => {
    fc.assert(
      fc.property(world, firstPacket, (of, first) => {
        const { program, cls } = open(of);
        for (const walk of WALKS) expect(decide(program, cls, { ...first, ended: true }, walk)).not.toBeNull();
      }),
      { numRuns: runs(300) },
    );
  });

  test("explains what it decides", () => {
    fc.assert(
      fc.property(world, firstPacket, (of, first) => {
        const { program, cls } = open(of);
        for (const facts of [first, ...payloads(first)]) {
          const { decision, steps } = explain(program, cls, facts);
          expect(decision).toEqual(decide(program, cls, facts, "enforce"));
          for (const { why } of steps) expect(why).not.toMatch(/undefined|NaN|^$/);
          if (decision?.rule == null) continue;
          const last = steps.findLast(
            ({ certain, answer, action }) => certain && answer === "yes" && /Allow|Deny|Accept/.test(action),
          );
          expect(last).toMatchObject({ policy: decision.policy, rule: decision.rule });
        }
      }),
      { numRuns: runs(150) },
    );
  });
});

describe("the gate", () => {
  test("closes no name that a rule by name would let out", () => {
    fc.assert(
      fc.property(
        world,
        fc.constantFrom(...NAMES),
        fc.array(firstPacket, { minLength: 6, maxLength: 6 }),
        (of, name, firsts) => {
          const { program, cls } = open(of);
          if (gateName(program, cls, name).action === "Allow") return;
          for (const first of firsts.map((draft) => ({ ...draft, names: [name], aliases: [] }))) {
            for (const facts of payloads(first).filter(({ evidence }) => evidence === null || evidence === name)) {
              const decision = referenceDecide(of, SOURCE, facts, "enforce");
              const by = ruleOf(of, decision);
              // Who may ask no resolver opens nothing by Sallyport's own rules alone.
              const opening = program.mute(cls) ? "Accept" : "Allow";
              expect(by?.action === opening && opensByName(of, by.rule, name, facts)).toBe(false);
            }
          }
        },
      ),
      { numRuns: runs(300) },
    );
  });
});

describe("names to resolve", () => {
  test("are enough: a binding that would open the flow is asked for", () => {
    fc.assert(
      fc.property(world, firstPacket, (of, draft) => {
        const { program, cls } = open(of);
        const first = { ...draft, names: [], aliases: [], namesFinal: false };
        for (const end of payloads(first)) {
          const partial = { ...end, namesFinal: false, ended: false };
          const wanted = namesToResolve(program, cls, partial);
          expect(wanted.length).toBeLessThanOrEqual(MOST_NAMES);
          if (decide(program, cls, partial, "enforce") !== null || typeof end.evidence !== "string") continue;
          const without = referenceDecide(of, SOURCE, end, "enforce").action;
          const bound = referenceDecide(of, SOURCE, { ...end, names: [end.evidence] }, "enforce").action;
          if (without === "Deny" && bound === "Allow") expect(wanted).toEqual([end.evidence]);
        }
      }),
      { numRuns: runs(200) },
    );
  });
});
