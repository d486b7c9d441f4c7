import fc from "fast-check";
import { expect, test } from "vitest";
import { gateName } from "../../../src/decide/gate.ts";
import { GateMemo } from "../../../src/decide/gate-memo.ts";
import { compileScene, policy, rule, workload } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";
import { SOURCE, world } from "./arbitraries.ts";

const NAMES = ["", "test", "a.test", "b.test", "x.a.test", "api.github.com", "kube.svc.cluster.local"];

test("property: answers as `gateName` does, whatever it was asked before, in every epoch", () => {
  fc.assert(
    fc.property(world, world, fc.array(fc.domain()), (one, other, domains) => {
      const programs = [one, other].map((of) => compileScene({ ...of, workloads: [SOURCE] }));
      const memo = new GateMemo();
      for (const program of [...programs, ...programs]) {
        const cls = program.classOf(SOURCE.id);
        for (const name of [...NAMES, ...domains, ...NAMES]) {
          for (const walk of ["enforce", "all"] as const) {
            expect(memo.gate(program, cls, name, walk)).toEqual(gateName(program, cls, name, walk));
            expect(memo.gate(program, -1, name, walk)).toEqual(gateName(program, -1, name, walk));
          }
        }
      }
    }),
    { numRuns: runs(30) },
  );
});

test("more names than it keeps", () => {
  const program = compileScene({
    policies: [policy("p", [rule("some", "Allow", { domains: ["*.a.test"] })])],
    workloads: [workload(1, "team/app")],
  });
  const memo = new GateMemo();
  for (let i = 0; i < 10_000; i++) {
    expect(memo.gate(program, 0, `n${i}.a.test`).action).toBe("Allow");
    expect(memo.gate(program, 0, `n${i}.b.test`).action).toBe("Deny");
  }
});
