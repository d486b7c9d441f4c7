import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import { compileScene, facts, policy, rule, workload } from "../../support/cases.ts";

/** Some 180 characters, and 15,000 once they are written out: to match a path of 4,096 takes seconds. */
const HEAVY = `/${"[^x]{0,1000}".repeat(15)}`;
const web = { cidrs: ["0.0.0.0/0"], ports: ["TCP 80"] };

function says(action: "Allow" | "Deny", paths: readonly { kind: "prefix" | "regex"; value: string }[], path: string) {
  const rules = [
    rule("one", action, { ...web, paths: [...paths] }),
    rule("rest", action === "Deny" ? "Allow" : "Deny", web),
  ];
  const program = compileScene({ policies: [policy("p", rules)], workloads: [workload(1, "team/app")] });
  const known = facts({ application: "HTTP", port: 80, method: "GET", path, evidence: "a.test", namesFinal: true });
  return decide(program, program.classOf(1), known, "enforce")?.rule;
}

describe("a path that is too long for the regular expressions of a workload", () => {
  const long = `/${"a".repeat(4095)}`;
  const heavy = [{ kind: "regex", value: HEAVY }] as const;

  test("opens nothing, and is denied by every Deny, at once", () => {
    const began = performance.now();
    expect(says("Allow", heavy, long)).toBe("rest");
    expect(says("Deny", heavy, long)).toBe("one");
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  test("is still compared with other kinds of paths", () => {
    expect(says("Allow", [...heavy, { kind: "prefix", value: "/a" }], long)).toBe("one");
  });

  test("where there are too many of them, none is asked", () => {
    const two = [...heavy, ...heavy];
    expect(says("Allow", two, "/abc")).toBe("rest");
    expect(says("Deny", two, "/x")).toBe("one");
  });

  test("short paths are held against them, and long ones against few", () => {
    expect(says("Allow", heavy, "/abc")).toBe("one");
    expect(says("Deny", heavy, "/x")).toBe("rest");
    expect(says("Allow", [{ kind: "regex", value: "/a+" }], long)).toBe("one");
    expect(says("Deny", [{ kind: "regex", value: "/b+" }], long)).toBe("rest");
  });
});
