import { expect, test } from "vitest";
import { LiveFlows } from "../../../src/flow/live-flows.ts";
import { allowed, denied, event, factsTo, tupleTo } from "./events.ts";

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
  flows.opened(event({ flowId: 1, tuple: tupleTo(1) }));
  flows.opened(event({ flowId: 2, tuple: tupleTo(2) }));
  flows.opened(event({ flowId: 3, tuple: tupleTo(3) }));
  const ended = flows.redecide((flow) => (flow.flowId === 1 ? kept : flow.flowId === 2 ? denied : null));
  expect(ended.map(({ flow, decision }) => [flow.flowId, decision.action, decision.reason])).toEqual([
    [2, "Deny", "NoLongerAllowed"],
    [3, "Deny", "NoLongerAllowed"],
  ]);
  expect([...flows.all()].map((flow) => flow.decision)).toEqual([kept]);
});
