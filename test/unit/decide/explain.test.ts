import { describe, expect, test } from "vitest";
import { destinationFromUrl } from "../../../src/decide/destination.ts";
import { explainDestination } from "../../../src/decide/explain.ts";
import { compileScene, group, policy, rule, workload } from "../../support/cases.ts";

const program = compileScene({
  policies: [
    policy("guard", [rule("bad", "Deny", { group: "evil" })], { priority: 1, defaultDeny: false }),
    policy("app", [
      rule("github", "Allow", { domains: ["*.github.com"], ports: ["TCP 443", "TCP 80"] }),
      rule("api", "Allow", {
        domains: ["a.test"],
        ports: ["TCP 80"],
        methods: ["GET"],
        paths: [{ kind: "prefix", value: "/v1/" }],
      }),
      rule("ssh", "Allow", { cidrs: ["203.0.113.10/32"], ports: ["TCP 22"] }),
      rule("pass", "Next", { group: "gone" }),
    ]),
  ],
  groups: [group("evil", { domains: ["evil.test"], cidrs: ["198.51.100.0/24"] })],
  workloads: [workload(1, "team/app")],
});

function lines(to: string, ip?: string): string[] {
  const destination = destinationFromUrl(to, { ip });
  if (destination.kind === "problem") throw new Error(destination.problem);
  const { steps, summary } = explainDestination(program, program.classOf(1), destination);
  return [...steps.map(({ rule: name, action, answer, why }) => `${name} ${action}: ${answer}, ${why}`), summary];
}

const notEvil =
  "bad Deny: no, group `evil`: the address is not in `198.51.100.0/24`, no name of the flow is among `evil.test`";

describe("an explanation", () => {
  test("says why each rule matched or not", () => {
    expect(lines("http://a.test/v2/x")).toEqual([
      notEvil,
      "github Allow: no, name `a.test` is not among `*.github.com`",
      "api Allow: no, path `/v2/x` is not prefix `/v1/`",
      "ssh Allow: no, TCP 80 is not among TCP 22",
      "pass Next: no, group `gone` does not exist: it matches nothing",
      "Deny: no rule matched, and a policy with `defaultDeny: true` selects the workload",
    ]);
  });

  test("ends with the rule that decides", () => {
    expect(lines("https://api.github.com/x")).toEqual([
      notEvil,
      "github Allow: yes, TCP 443, name `api.github.com` is among `*.github.com` and was resolved to this address",
      "Allow by rule `github` of `ClusterEgressPolicy/app`",
    ]);
    expect(lines("tcp://198.51.100.7:22")).toEqual([
      "bad Deny: yes, any port, the address is in group `evil`",
      "Deny by rule `bad` of `ClusterEgressPolicy/guard`",
    ]);
  });

  test("says what was missing", () => {
    expect(lines("https://api.github.com/", "203.0.113.5").slice(1, 2)).toEqual([
      "github Allow: no, name `api.github.com` is among `*.github.com` but was never resolved to this address by this workload",
    ]);
    expect(lines("https://203.0.113.5/")[0]).toBe(
      "bad Deny: yes, group `evil`: the address is not in `198.51.100.0/24`, the flow hides its name, which may be among `evil.test`",
    );
    expect(lines("tcp://api.github.com:443")[1]).toBe(
      "github Allow: no, the flow carries no name, and one among `*.github.com` has to be in it",
    );
  });

  test("says what is not known yet, where the decision does not wait for it", () => {
    expect(lines("tcp://a.test:2222")).toEqual([
      "bad Deny: notYet, group `evil`: the address is not in `198.51.100.0/24`, not all names of the flow are known yet, to be held against `evil.test`",
      "github Allow: no, TCP 2222 is not among TCP 443, TCP 80",
      "api Allow: no, TCP 2222 is not among TCP 80",
      "ssh Allow: no, TCP 2222 is not among TCP 22",
      "pass Next: no, group `gone` does not exist: it matches nothing",
      "Deny: no rule matched, and a policy with `defaultDeny: true` selects the workload",
    ]);
  });

  test("of a question", () => {
    expect(lines("dns://evil.test")).toEqual([
      "bad Deny: yes, name `evil.test` matches, whatever its address",
      "Deny by rule `bad` of `ClusterEgressPolicy/guard`",
    ]);
    expect(lines("dns://api.github.com")).toEqual([
      "bad Deny: notYet, it may match, by address",
      "github Allow: notYet, name `api.github.com` is among `*.github.com`",
      "api Allow: no, name `api.github.com` is not among `a.test`",
      "ssh Allow: no, it has addresses only, which open no name",
      "pass Next: no, it has addresses only, which open no name",
      "Allow by rule `github` of `ClusterEgressPolicy/app`",
    ]);
  });

  test("of what no rule is asked about", () => {
    expect(lines("tcp://10.244.1.1:80")).toEqual(["Allow: the destination is inside the cluster: this is not egress"]);
  });
});
