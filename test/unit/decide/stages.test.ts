import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import { namesToResolve } from "../../../src/decide/names-to-resolve.ts";
import type { Facts } from "../../../src/model/facts.ts";
import type { Policy } from "../../../src/model/policy.ts";
import { compileScene, entry, facts, policy, rule, workload } from "../../support/cases.ts";

function open(...policies: readonly Policy[]) {
  const program = compileScene({ policies, workloads: [workload(1, "team/app")] });
  const cls = program.classOf(1);
  return {
    says: (known: Partial<Facts>, walk: "enforce" | "all" = "enforce") => {
      const decision = decide(program, cls, facts(known), walk);
      return decision === null ? "not yet" : `${decision.action} ${decision.rule ?? decision.reason}`;
    },
    asks: (known: Partial<Facts>) => namesToResolve(program, cls, facts(known)),
  };
}

const site = { domains: ["a.test", "*.b.test"], ports: ["TCP 443"] };
const bound = { names: ["a.test"] };
const hello = { application: "TLS", encryptedClientHello: false } as const;

describe("a flow reveals itself step by step", () => {
  const names = open(policy("p", [rule("site", "Allow", site)]));
  const range = open(policy("p", [rule("net", "Allow", { cidrs: ["203.0.113.0/24"] })]));
  const guard = open(
    policy("p", [rule("bad", "Deny", { domains: ["bad.test"] }), rule("net", "Allow", { cidrs: ["0.0.0.0/0"] })]),
  );

  test.each<[string, typeof names, Partial<Facts>, string]>([
    ["an address rule decides at the first packet", range, {}, "Allow net"],
    ["a port that no rule knows is denied at the first packet", names, { port: 8443 }, "Deny DefaultDeny"],
    ["a name rule waits for the name", names, bound, "not yet"],
    ["no binding, and none can come: denied at the first packet", names, { namesFinal: true }, "Deny DefaultDeny"],
    ["the name is there and bound", names, { ...bound, ...hello, evidence: "a.test" }, "Allow site"],
    ["the name is there, a binding may come", names, { ...hello, evidence: "a.test" }, "not yet"],
    [
      "the name is there, no binding can come",
      names,
      { ...hello, evidence: "a.test", namesFinal: true },
      "Deny NotResolved",
    ],
    ["another name: no binding could help", names, { ...bound, ...hello, evidence: "c.test" }, "Deny DefaultDeny"],
    [
      "two names bound, the allowed one in the flow",
      names,
      { names: ["c.test", "a.test"], ...hello, evidence: "a.test" },
      "Allow site",
    ],
    [
      "a name bound, another allowed one in the flow",
      names,
      { ...bound, ...hello, evidence: "x.b.test", namesFinal: true },
      "Deny NotResolved",
    ],
    [
      "aliases bind for Deny only",
      names,
      { aliases: ["a.test"], ...hello, evidence: "a.test", namesFinal: true },
      "Deny NotResolved",
    ],
    ["no name on port 443", names, { ...bound, ...hello, evidence: null, nameHidden: true }, "Deny NameMissing"],
    ["facts ended before a name came", names, { ...bound, ended: true }, "Deny NameMissing"],
    ["a Deny by name holds back what follows it", guard, {}, "not yet"],
    ["until the names are known", guard, { ...hello, evidence: "c.test", namesFinal: true }, "Allow net"],
    ["an alias is enough for it", guard, { aliases: ["bad.test"] }, "Deny bad"],
    ["so is a binding", guard, { names: ["bad.test"] }, "Deny bad"],
    ["or the name in the flow", guard, { ...hello, evidence: "bad.test" }, "Deny bad"],
    ["a hidden name is", guard, { ...hello, evidence: null, nameHidden: true }, "Deny bad"],
    [
      "a silent protocol is not",
      guard,
      { application: "ServerFirst", evidence: null, namesFinal: true, ended: true },
      "Allow net",
    ],
    ["a hello that never ended hides its name", guard, { application: "TLS", ended: true }, "Deny bad"],
  ])("%s", (_says, policies, known, outcome) => {
    expect(policies.says(known)).toBe(outcome);
  });
});

describe("open questions are followed both ways", () => {
  const secret = { domains: ["secret.test"] };

  test("the same action whatever comes: decided now, by the rule that is certain", () => {
    const both = open(policy("p", [rule("name", "Deny", secret), rule("all", "Deny")]));
    expect(both.says({})).toBe("Deny all");
    const defaults = open(policy("p", [rule("name", "Deny", secret)]));
    expect(defaults.says({})).toBe("Deny DefaultDeny");
  });

  test("Next and Pass only skip forward", () => {
    const next = open(
      policy("a", [rule("next", "Next", secret), rule("no", "Deny")]),
      policy("b", [rule("no2", "Deny")]),
    );
    expect(next.says({})).toBe("Deny no");
    const opens = open(
      policy("a", [rule("next", "Next", secret), rule("no", "Deny")]),
      policy("b", [rule("ok", "Allow")]),
    );
    expect(opens.says({})).toBe("not yet");
    const pass = open(
      policy("a", [rule("pass", "Pass", secret), rule("no", "Deny")]),
      policy("b", [rule("ok", "Allow")]),
      policy("c", [rule("no3", "Deny")], { tier: "Baseline" }),
    );
    expect(pass.says({})).toBe("Deny no");
  });

  test("a certain Pass after an open Next: what Next may reach is not what decides", () => {
    const both = open(
      policy("a", [rule("next", "Next", secret), rule("pass", "Pass")]),
      policy("b", [rule("maybe", "Deny")]),
      policy("c", [rule("sure", "Deny")], { tier: "Baseline" }),
    );
    expect(both.says({})).toBe("Deny sure");
  });

  test("Audit: enforced without, told with", () => {
    const trial = open(policy("p", [rule("ok", "Allow")]), policy("a", [rule("no", "Deny")], { mode: "Audit" }));
    expect([trial.says({}), trial.says({}, "all")]).toEqual(["Allow ok", "Deny no"]);
    const alone = open(policy("a", [], { mode: "Audit" }));
    expect([alone.says({}), alone.says({}, "all")]).toEqual(["Allow NotIsolated", "Deny DefaultDeny"]);
  });
});

describe("HTTP and TLS fields", () => {
  const http = open(
    policy("p", [
      rule("no", "Deny", { methods: ["DELETE"] }),
      rule("ok", "Allow", {
        domains: ["a.test"],
        ports: ["TCP 80"],
        methods: ["GET"],
        paths: [{ kind: "prefix", value: "/a" }],
      }),
    ]),
  );
  const request = { port: 80, names: ["a.test"], application: "HTTP", evidence: "a.test" } as const;
  const tls = open(policy("p", [rule("ok", "Allow", { domains: ["a.test"], tls: "noEncryptedHello" })]));

  test.each<[string, typeof http, Partial<Facts>, string]>([
    ["head not read yet", http, request, "not yet"],
    ["method known, path not", http, { ...request, method: "GET" }, "not yet"],
    ["method known to be wrong", http, { ...request, method: "POST" }, "Deny DefaultDeny"],
    ["all known", http, { ...request, method: "GET", path: "/a/b" }, "Allow ok"],
    ["a request that cannot be read", http, { ...request, ended: true, nameHidden: true, evidence: null }, "Deny no"],
    ["UDP is never HTTP", http, { ...bound, port: 80, protocol: 17 }, "Deny DefaultDeny"],
    ["not HTTP", http, { ...request, ...hello, method: null, path: null }, "Deny DefaultDeny"],
    ["plain hello", tls, { ...bound, ...hello, evidence: "a.test" }, "Allow ok"],
    [
      "encrypted hello, or grease",
      tls,
      { ...bound, ...hello, encryptedClientHello: true, evidence: "a.test" },
      "Deny DefaultDeny",
    ],
    [
      "QUIC is TLS",
      tls,
      { ...bound, application: "QUIC", protocol: 17, encryptedClientHello: false, evidence: "a.test" },
      "Allow ok",
    ],
    ["plain HTTP has no hello", tls, { ...request, method: "GET", path: "/" }, "Allow ok"],
  ])("%s", (_says, policies, known, outcome) => {
    expect(policies.says(known)).toBe(outcome);
  });
});

describe("names to resolve", () => {
  const ssh = { domains: ["a.test", "*.b.test", "c.test"], ports: ["TCP 22"] };
  const of = open(
    policy("p", [
      rule("site", "Allow", site),
      rule("bad", "Deny", { domains: ["bad.test"], ports: ["TCP 22"] }),
      rule("ssh", "Allow", ssh),
      rule("tls", "Allow", { domains: ["d.test"], ports: ["TCP 22"], tls: "required" }),
      rule("rest", "Deny", { cidrs: ["0.0.0.0/0"] }),
      rule("late", "Allow", { domains: ["late.test"], ports: ["TCP 22"] }),
    ]),
  );

  test.each<[string, Partial<Facts>, readonly string[]]>([
    ["port 443: the name in the flow will say", {}, []],
    ["the name in the flow, if a rule waits for it", { ...hello, evidence: "x.b.test" }, ["x.b.test"]],
    ["not if none does", { ...hello, evidence: "x.c.test" }, []],
    ["elsewhere the exact names of rules that want no evidence", { port: 22 }, ["a.test", "c.test"]],
    [
      "also when the flow is known to carry none",
      { port: 22, application: "ServerFirst", evidence: null },
      ["a.test", "c.test"],
    ],
    ["not what is bound already", { port: 22, names: ["c.test"] }, ["a.test"]],
    ["not when the answer is in", { port: 22, namesFinal: true }, []],
    ["not on another port", { port: 2222 }, []],
    ["not for another protocol", { port: 22, protocol: 17 }, []],
  ])("%s", (_says, known, wanted) => {
    expect(of.asks(known)).toEqual(wanted);
  });

  test("at most sixteen", () => {
    const many = Array.from({ length: 40 }, (_, i) => `n${i}.test`);
    expect(
      open(policy("p", [rule("r", "Allow", { domains: many, ports: ["TCP 22"] })])).asks({ port: 22 }),
    ).toHaveLength(16);
  });
});

test("a class nobody knows is denied", () => {
  const program = compileScene({ policies: [], workloads: [] });
  expect(decide(program, program.classOf(7), facts(), "enforce")).toMatchObject({
    action: "Deny",
    reason: "UnknownWorkload",
  });
});

test("an entry that asks for nothing matches everything", () => {
  expect(entry({})).toMatchObject({ domains: null, cidrs: null, group: null, ports: null });
  expect(open(policy("p", [rule("r", "Allow", {})])).says({})).toBe("Allow r");
});
