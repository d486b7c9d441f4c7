import fc from "fast-check";
import { expect, test } from "vitest";
import { type LiveFlow, LiveFlows } from "../../../src/flow/live-flows.ts";
import { ipv4 } from "../../../src/net/address.ts";
import { runs } from "../../support/runs.ts";
import { allowed, denied, event, factsTo, tupleTo } from "./events.ts";

function plainFlow(): LiveFlow {
  const flows = table();
  flows.opened(event());
  return flows.get(tupleTo(40000))!;
}

function table(total = 100, perWorkload = 100) {
  return new LiveFlows({ total, perWorkload });
}

test("only allowed flows with facts are open", () => {
  const flows = table();
  expect(flows.opened(event())).toBe("kept");
  expect(flows.opened(event({ kind: "dns" }))).toBe("not open");
  expect(flows.opened(event({ tuple: tupleTo(1), decision: denied, state: "rejected" }))).toBe("not open");
  expect(flows.opened(event({ tuple: tupleTo(1), facts: null }))).toBe("not open");
  expect(flows.size).toBe(1);
  expect(flows.get(tupleTo(40000))).toMatchObject({ flowId: 1, workloadId: 7, since: event().time });
});

test("facts of an open flow have ended: no more will be learned", () => {
  const flows = table();
  flows.opened(event({ facts: { ...factsTo("a.example"), evidence: undefined, ended: false, namesFinal: false } }));
  expect(flows.get(tupleTo(40000))?.facts).toMatchObject({ ended: true, namesFinal: true, evidence: undefined });
});

test("a denied request removes its flow; an allowed one leaves it", () => {
  const flows = table();
  flows.opened(event({ state: "http" }));
  flows.opened(event({ kind: "request", facts: null, state: "http" }));
  expect(flows.size).toBe(1);
  flows.opened(event({ kind: "request", facts: null, decision: denied, state: "rejected" }));
  expect(flows.size).toBe(0);
});

test("a tuple used again is another flow", () => {
  const flows = table();
  flows.opened(event());
  flows.opened(event({ flowId: 2, time: 5 }));
  expect(flows.size).toBe(1);
  expect(flows.closed(tupleTo(40000))).toMatchObject({ flowId: 2, since: 5 });
  expect(flows.closed(tupleTo(40000))).toBeNull();
});

test("bounds hold per workload and in all", () => {
  const flows = table(3, 2);
  expect(flows.opened(event({ tuple: tupleTo(1) }))).toBe("kept");
  expect(flows.opened(event({ tuple: tupleTo(2) }))).toBe("kept");
  expect(flows.opened(event({ tuple: tupleTo(3) }))).toBe("full");
  expect(flows.opened(event({ tuple: tupleTo(4), workloadId: 8 }))).toBe("kept");
  expect(flows.opened(event({ tuple: tupleTo(5), workloadId: 9 }))).toBe("full");
  flows.closed(tupleTo(1));
  expect(flows.opened(event({ tuple: tupleTo(3) }))).toBe("kept");
});

test("re-deciding ends what is denied or no longer decided, and keeps the rest with its new decision", () => {
  const flows = table();
  const kept = { ...allowed, rule: "other" };
  for (const id of [1, 2, 3]) flows.opened(event({ flowId: id, tuple: tupleTo(id), facts: factsTo(`n${id}.example`) }));
  const decide = (flow: LiveFlow) => (flow.flowId === 1 ? kept : flow.flowId === 2 ? denied : null);
  const ended = [...flows.redecide(decide)].filter((one) => one !== null);
  expect(ended.map(({ flow, decision }) => [flow.flowId, decision.action, decision.reason])).toEqual([
    [2, "Deny", "NoLongerAllowed"],
    [3, "Deny", "NoLongerAllowed"],
  ]);
  expect([...flows.all()].map((flow) => flow.decision)).toEqual([kept]);
});

test("flows that differ in nothing that a decision can depend on are decided once; any difference asks again", () => {
  const flows = table(1_000, 1_000);
  const server = ipv4(0xc0000202);
  const variants = [
    {},
    { workloadId: 8 },
    { tuple: { ...tupleTo(0), client: ipv4(0x0af40003) } },
    { tuple: tupleTo(0, server), facts: { ...factsTo("api.github.com"), address: server } },
    { tuple: { ...tupleTo(0), serverPort: 444 } },
    { tuple: { ...tupleTo(0), protocol: 132 } },
    { facts: factsTo("b.example") },
    { facts: { ...factsTo("api.github.com"), nameHidden: true } },
    { decision: { ...allowed } },
  ];
  for (const [at, variant] of variants.entries()) {
    for (let port = 1; port <= 10; port++) {
      const of = event(variant);
      flows.opened({ ...of, flowId: at, tuple: { ...of.tuple, clientPort: at * 100 + port } });
    }
  }
  const asked: number[] = [];
  const decide = (flow: LiveFlow) => {
    asked.push(flow.flowId);
    return allowed;
  };
  expect([...flows.redecide(decide)].filter((one) => one !== null)).toEqual([]);
  expect(asked.toSorted((a, b) => a - b)).toEqual([...variants.keys()]);
});

test("an http flow is the lane's to decide anew", () => {
  const flows = table();
  flows.opened(event({ state: "http" }));
  expect([...flows.redecide(() => null)]).toEqual([]);
  expect(flows.get(tupleTo(40000))?.followed).toBe(true);
});

test("flows of another run keep it, and give way to what this one decides", () => {
  const flows = table();
  const before = { ...plainFlow(), flowId: 9, run: "0badcafe" };
  expect(flows.resumed(before)).toBe("kept");
  expect(flows.get(tupleTo(40000))).toEqual(before);
  expect(flows.resumed(before)).toBe("not open");
  flows.opened(event({ flowId: 9 }));
  expect(flows.get(tupleTo(40000))).toMatchObject({ flowId: 9, since: event().time });
  expect(flows.get(tupleTo(40000))).not.toHaveProperty("run");
});

test("property: the table holds what a map would, whatever comes, goes and is walked over", () => {
  const port = fc.integer({ min: 1, max: 40 });
  const step = fc.oneof(
    fc.record({ open: port, name: fc.constantFrom("a.example", `${"long.".repeat(60)}example`) }),
    fc.record({ close: port }),
    fc.constant({ redecide: true }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer(), (steps, seed) => {
      const flows = new LiveFlows({ total: 1_000, perWorkload: 1_000 }, seed);
      const wanted = new Map<number, string>();
      for (const [flowId, one] of steps.entries()) {
        if ("open" in one) {
          const facts = factsTo(one.name);
          expect(flows.opened(event({ flowId, tuple: tupleTo(one.open), facts, name: one.name }))).toBe("kept");
          wanted.set(one.open, `${flowId} ${flows.get(tupleTo(one.open))?.facts.names[0]}`);
        } else if ("close" in one) {
          expect(flows.closed(tupleTo(one.close)) !== null).toBe(wanted.delete(one.close));
        } else for (const _ of flows.redecide(() => allowed));
        expect(flows.size).toBe(wanted.size);
      }
      const there = [...flows.all()].map(({ tuple, flowId, facts }) => [
        tuple.clientPort,
        `${flowId} ${facts.names[0]}`,
      ]);
      expect(new Map(there as [number, string][])).toEqual(wanted);
    }),
    { numRuns: runs(200) },
  );
});

test("memory goes back when most flows have gone, and a walk that is under way misses none that stays", () => {
  const flows = new LiveFlows({ total: 1_000_000, perWorkload: 1_000_000 });
  const many = 60_000;
  for (let i = 0; i < many; i++) flows.opened(event({ flowId: i, tuple: tupleTo(i & 0xffff, ipv4(i >>> 16)) }));
  const met = new Set<number>();
  for (const handle of flows.handles()) {
    met.add(flows.view(handle).flowId);
    if (met.size !== 100) continue;
    for (let i = 0; i < many; i++) if (i % 50 !== 0) flows.closed(tupleTo(i & 0xffff, ipv4(i >>> 16)));
  }
  expect(flows.size).toBe(many / 50);
  for (let i = 0; i < many; i += 50) expect(met.has(i)).toBe(true);
  expect(flows.get(tupleTo(50, ipv4(0)))).toMatchObject({ flowId: 50 });
});
