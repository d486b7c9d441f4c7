import { describe, expect, test } from "vitest";
import { PULSE, PULSE_SLOTS } from "../../../src/agent/lane-messages.ts";
import { DecisionCounts, OTHER_POLICY } from "../../../src/agent/metrics/decision-counts.ts";
import { LaneNumbers } from "../../../src/agent/metrics/lane-pulse.ts";
import {
  LATENCY_BOUNDS_MS,
  LatencyHistogram,
  latencyCount,
  latencyQuantile,
  latencySince,
  latencySumMs,
} from "../../../src/agent/metrics/latency.ts";
import { formatListen, parseListen } from "../../../src/agent/metrics/listen-address.ts";
import { Problems } from "../../../src/agent/metrics/problems.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import type { Decision } from "../../../src/model/decision.ts";

describe("times", () => {
  test("fall into the bucket whose bound they do not exceed", () => {
    const times = new LatencyHistogram();
    times.add(0.01);
    times.add(0.0101);
    times.add(1000);
    times.add(1000.1, 3);
    times.add(5, 0);
    const buckets = [...times.slots.slice(0, -1)];
    expect(buckets).toEqual([1, 1, ...new Array(13).fill(0), 1, 3]);
    expect(latencyCount(times.slots)).toBe(6);
    expect(latencySumMs(times.slots)).toBeCloseTo(0.01 + 0.0101 + 1000 + 3 * 1000.1);
  });

  test("bounds rise from 10 µs to 1 s", () => {
    expect([...LATENCY_BOUNDS_MS].sort((a, b) => a - b)).toEqual(LATENCY_BOUNDS_MS);
    expect([LATENCY_BOUNDS_MS[0], LATENCY_BOUNDS_MS.at(-1)]).toEqual([0.01, 1000]);
  });

  test("quantiles lie within their bucket; none without times", () => {
    const times = new LatencyHistogram();
    expect(latencyQuantile(times.slots, 0.5)).toBeNull();
    times.add(0.07, 98);
    times.add(30, 2);
    expect(latencyQuantile(times.slots, 0.5)).toBeCloseTo(0.05 + (0.05 * 50) / 98);
    expect(latencyQuantile(times.slots, 0.99)).toBeCloseTo(35);
    times.add(10_000, 1_000_000);
    expect(latencyQuantile(times.slots, 0.99)).toBe(1000);
  });

  test("what came since is the difference, never below zero", () => {
    const times = new LatencyHistogram();
    times.add(1, 5);
    const before = times.slots.slice();
    times.add(1, 2);
    expect(latencyCount(latencySince(times.slots, before))).toBe(2);
    expect(latencyCount(latencySince(before, times.slots))).toBe(0);
  });
});

describe("lanes", () => {
  test("counts go on in the next lane, states do not", () => {
    let pulse = new Float64Array(PULSE_SLOTS);
    const numbers = new LaneNumbers(() => pulse);
    pulse[PULSE.packets] = 7;
    pulse[PULSE.bindings] = 5;
    pulse[PULSE.verdictTimes] = 7;
    expect(numbers.read(PULSE.packets)).toBe(7);
    pulse = new Float64Array(PULSE_SLOTS);
    numbers.refresh();
    pulse = new Float64Array(PULSE_SLOTS);
    pulse[PULSE.packets] = 2;
    pulse[PULSE.bindings] = 1;
    expect([numbers.read(PULSE.packets), numbers.read(PULSE.bindings)]).toEqual([9, 1]);
    expect(latencyCount(numbers.verdictTimes())).toBe(7);
  });
});

describe("decisions", () => {
  const event = (policy: string | null, action: Decision["action"], audit: Decision | null = null): FlowEvent =>
    ({ kind: "flow", decision: { action, policy, rule: null, reason: "DefaultDeny" }, audit }) as FlowEvent;

  test("are counted by policy; a policy that is not in force counts among the others", () => {
    const counts = new DecisionCounts();
    counts.setPolicies([
      { kind: "EgressPolicy", namespace: "other", name: "b" },
      { kind: "EgressPolicy", namespace: "a", name: "b" },
    ]);
    counts.count(event("EgressPolicy/a/b", "Allow"));
    counts.count(event("EgressPolicy/gone/b", "Allow"));
    counts.count(event(null, "Deny", event(null, "Allow").decision));
    expect(counts.decisions()).toEqual([
      { policy: "EgressPolicy/a/b", kind: "flow", action: "Allow", count: 1 },
      { policy: OTHER_POLICY, kind: "flow", action: "Allow", count: 1 },
      { policy: null, kind: "flow", action: "Deny", count: 1 },
    ]);
    expect([...counts.denials()]).toEqual([["DefaultDeny", 1]]);
    expect(counts.audit()).toEqual({ Allow: 1, Deny: 0 });
  });

  test("of a policy that leaves go with it, those of others stay", () => {
    const counts = new DecisionCounts();
    const [a, b] = ["a", "b"].map((namespace) => ({ kind: "EgressPolicy" as const, namespace, name: "same" }));
    counts.setPolicies([a!, b!]);
    for (const policy of ["EgressPolicy/a/same", "EgressPolicy/b/same", null]) counts.count(event(policy, "Deny"));
    counts.setPolicies([b!]);
    expect(counts.decisions().map(({ policy }) => policy)).toEqual(["EgressPolicy/b/same", null]);
    counts.count(event("EgressPolicy/a/same", "Deny"));
    expect(counts.decisions().map(({ policy }) => policy)).toEqual(["EgressPolicy/b/same", null, OTHER_POLICY]);
  });

  test("no flood of policies makes the table grow without end", () => {
    const counts = new DecisionCounts();
    for (let round = 0; round < 5; round++) {
      const names = Array.from({ length: 3000 }, (_, i) => `p${round}-${i}`);
      counts.setPolicies(names.map((name) => ({ kind: "ClusterEgressPolicy", namespace: null, name })));
      for (const name of names) counts.count(event(`ClusterEgressPolicy/${name}`, "Deny"));
      expect(counts.decisions()).toHaveLength(round === 0 ? 2001 : 2000);
    }
    expect(counts.decisions().find(({ policy }) => policy === OTHER_POLICY)?.count).toBe(1000 + 4 * 1001);
  });
});

describe("problems", () => {
  test("the last ones are kept, the same one after the other once", () => {
    const problems = new Problems();
    for (let i = 0; i < 100; i++) problems.add("warn", `event-${i}`, "x".repeat(1000));
    problems.add("error", "event-0", "first");
    problems.add("error", "event-0", "second");
    const last = problems.last();
    expect(last.length).toBe(20);
    expect(last.at(-1)).toMatchObject({ event: "event-0", message: "second", times: 2 });
    expect(last[0]?.message.length).toBe(400);
    expect(problems.counts().size).toBeLessThanOrEqual(65);
    expect(problems.counts().get("event-0")).toBe(3);
  });
});

describe("addresses to listen on", () => {
  test.each([
    ["127.0.0.1:9464", { kind: "tcp", host: "127.0.0.1", port: 9464 }],
    ["[::1]:0", { kind: "tcp", host: "::1", port: 0 }],
    ["unix:/run/a.sock", { kind: "unix", path: "/run/a.sock" }],
  ])("%s", (text, address) => {
    expect(parseListen(text)).toEqual(address);
    expect(formatListen(parseListen(text)!)).toBe(text);
  });

  test.each([
    "",
    "9464",
    ":9464",
    "localhost:9464",
    "::1:9464",
    "127.0.0.1:65536",
    "127.0.0.1",
    "unix:relative",
    "unix:",
    `unix:/${"a".repeat(120)}`,
  ])("`%s` is refused", (text) => expect(parseListen(text)).toBeNull());
});
