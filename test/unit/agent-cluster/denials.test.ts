import { describe, expect, test } from "vitest";
import { DENIAL_LIMITS, Denials } from "../../../src/agent/cluster/denials.ts";
import { FlowLog } from "../../../src/agent/flow-log.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { type Address, parseAddress } from "../../../src/net/address.ts";
import { NodeStatus } from "../../../src/policy/status-schema.ts";

const AT = Date.parse("2026-01-01T00:00:00Z");
const address = (text: string): Address => parseAddress(text)!;

const pod = (id: number): Workload => ({
  ...{ id, uid: `uid-${id}`, namespace: "team", name: `pod-${id}`, labels: {}, namespaceLabels: {} },
  ...{ serviceAccount: "default", addresses: [], node: "node1" },
});

interface Denied {
  readonly to?: string;
  readonly port?: number;
  readonly protocol?: number;
  readonly name?: string | null;
  readonly kind?: FlowEvent["kind"];
  readonly at?: number;
  readonly rule?: string;
}

function denied({
  to = "192.0.2.1",
  port = 443,
  protocol = 6,
  name = null,
  kind = "flow",
  at = 0,
  rule,
}: Denied): FlowEvent {
  return {
    kind,
    flowId: 1,
    time: AT + at,
    workloadId: 1,
    tuple: { protocol, client: address("10.0.0.1"), clientPort: 40_000, server: address(to), serverPort: port },
    application: "Unknown",
    name,
    method: "GET",
    path: "/secret",
    decision: {
      action: "Deny",
      policy: rule === undefined ? null : "EgressPolicy/team/own",
      rule: rule ?? null,
      reason: rule === undefined ? "DefaultDeny" : "RuleMatched",
    },
    audit: null,
    facts: null,
    state: "rejected",
  };
}

const MINUTE = 60_000;

describe("what a pod was denied", () => {
  test("is told by name or address, port, rule and reason, and how often; nothing of the request", () => {
    const denials = new Denials();
    denials.add(denied({ name: "api.example" }), pod(1));
    denials.add(denied({ name: "api.example", to: "192.0.2.2", at: 5_000 }), pod(1));
    denials.add(denied({ to: "2001:db8::1", port: 22, rule: "ssh", at: 1_000 }), pod(1));
    const { denials: told, leftOut } = denials.tell([pod(1)], AT + 6_000);
    const about = { namespace: "team", pod: "pod-1", podUid: "uid-1" };
    expect(told).toEqual([
      {
        ...{ ...about, reason: "DefaultDeny", destination: "TCP api.example:443", count: 2 },
        ...{ firstSeen: "2026-01-01T00:00:00Z", lastSeen: "2026-01-01T00:00:05Z" },
      },
      {
        ...{ ...about, policy: "EgressPolicy/team/own", rule: "ssh", reason: "RuleMatched" },
        ...{ destination: "TCP [2001:db8::1]:22", count: 1 },
        ...{ firstSeen: "2026-01-01T00:00:01Z", lastSeen: "2026-01-01T00:00:01Z" },
      },
    ]);
    expect(leftOut).toBe(0);
    expect(JSON.stringify(told)).not.toMatch(/secret|GET/);
    expect(NodeStatus.safeParse({ denials: told, denialsLeftOut: leftOut }).success).toBe(true);
  });

  test.each<[string, Denied, string]>([
    ["a question", { kind: "dns", name: "api.example", protocol: 17, port: 53 }, "DNS api.example"],
    ["no port", { protocol: 1, port: 0 }, "ICMP 192.0.2.1"],
    ["another protocol", { protocol: 47, port: 0 }, "47 192.0.2.1"],
    ["a name of any bytes", { name: "a\n\u202e\u0000b" }, "TCP a\\u000a\\u202e\\u0000b:443"],
  ])("%s", (_, event, destination) => {
    const denials = new Denials();
    denials.add(denied(event), pod(1));
    expect(denials.tell([pod(1)], AT).denials.map((one) => one.destination)).toEqual([destination]);
  });

  test("has no longer a name than a status takes", () => {
    const denials = new Denials();
    denials.add(denied({ name: "\u0001".repeat(255), kind: "dns" }), pod(1));
    denials.add(denied({ name: "\u{1f600}".repeat(100) }), pod(1));
    const { denials: told } = denials.tell([pod(1)], AT);
    expect(told.map(({ destination }) => destination.length)).toEqual([300, expect.any(Number)]);
    expect(NodeStatus.safeParse({ denials: told }).success).toBe(true);
  });

  test("stays the same object until something is to be told", () => {
    const denials = new Denials();
    expect(denials.tell([pod(1)], AT)).toBe(denials.tell([pod(1)], AT + MINUTE));
    denials.add(denied({}), pod(1));
    const first = denials.tell([pod(1)], AT);
    denials.add(denied({ at: 1_000 }), pod(1));
    expect(denials.tell([pod(1)], AT + 2_000)).toBe(first);
    const later = denials.tell([pod(1)], AT + DENIAL_LIMITS.tellEveryMs);
    expect(later.denials[0]?.count).toBe(2);
    expect(denials.tell([pod(1)], AT + 2 * DENIAL_LIMITS.tellEveryMs)).toBe(later);
  });

  test("is forgotten a while after the last, and with the pod", () => {
    const denials = new Denials();
    denials.add(denied({}), pod(1));
    denials.add(denied({ at: DENIAL_LIMITS.forgetMs }), pod(2));
    expect(denials.tell([pod(1), pod(2)], AT + 1).denials).toHaveLength(2);
    const { denials: left } = denials.tell([pod(1), pod(2)], AT + DENIAL_LIMITS.forgetMs);
    expect(left.map((one) => one.pod)).toEqual(["pod-2"]);
    expect(denials.tell([], AT + 2 * DENIAL_LIMITS.forgetMs)).toEqual({ denials: [], leftOut: 0 });
  });
});

describe("a pod that tries everything", () => {
  /** `count` destinations of its own, one every 20 ms. */
  const scan = (denials: Denials, who: Workload, count: number, from = 0): void => {
    for (let i = 0; i < count; i++) {
      denials.add(denied({ to: `192.0.2.${i % 250}`, port: 1 + (from + i), at: from + i * 20 }), who);
    }
  };

  test("pushes out nothing of the others, has its share, and what is left out is counted", () => {
    const denials = new Denials();
    denials.add(denied({ name: "quiet.example" }), pod(2));
    scan(denials, pod(1), 10_000);
    const { denials: told, leftOut } = denials.tell([pod(1), pod(2)], AT + 200_000);
    const of = (name: string) => told.filter((one) => one.pod === name).length;
    expect([of("pod-1"), of("pod-2")]).toEqual([DENIAL_LIMITS.toldOfPod, 1]);
    expect(leftOut).toBe(10_000 - DENIAL_LIMITS.toldOfPod);
  });

  test("many such pods share what there is room for, each with its latest", () => {
    const denials = new Denials();
    const pods = Array.from({ length: 110 }, (_, i) => pod(i + 1));
    for (const one of pods) scan(denials, one, 20);
    const { denials: told } = denials.tell(pods, AT + 1_000);
    expect(told).toHaveLength(DENIAL_LIMITS.told);
    expect(new Set(told.map((one) => one.pod)).size).toBe(DENIAL_LIMITS.told);
  });

  test("has the status written no more than once a minute after the first few", () => {
    const denials = new Denials();
    let writes = 0;
    let before = denials.tell([pod(1)], AT);
    for (let second = 0; second < 600; second += 5) {
      scan(denials, pod(1), 100, second * 1000);
      const now = denials.tell([pod(1)], AT + second * 1000 + 4_000);
      if (now !== before) writes++;
      before = now;
    }
    expect(writes).toBeLessThanOrEqual(DENIAL_LIMITS.news + 10);
    expect(writes).toBeGreaterThan(DENIAL_LIMITS.news);
  });

  test("costs no more than so many looks a second", () => {
    const denials = new Denials();
    for (let i = 0; i < 1_000; i++) denials.add(denied({}), pod(1));
    const { denials: told, leftOut } = denials.tell([pod(1)], AT);
    expect([told[0]?.count, leftOut]).toEqual([DENIAL_LIMITS.lookedAt, 1_000 - DENIAL_LIMITS.lookedAt]);
  });
});

test("the flow log tells of denials of known workloads, whether it writes or not", () => {
  const log = new FlowLog(null);
  const told: string[] = [];
  log.onDenial = (event, workload) => told.push(`${workload.name} ${event.decision.reason}`);
  log.setWorkloads([pod(1)]);
  log.event(denied({}));
  log.event({ ...denied({}), workloadId: 7 });
  log.event({ ...denied({}), decision: { action: "Allow", policy: null, rule: null, reason: "NotIsolated" } });
  expect(told).toEqual(["pod-1 DefaultDeny"]);
});
