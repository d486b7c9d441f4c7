import fc from "fast-check";
import type { FlowEvent, FlowTuple } from "../../../src/flow/event.ts";
import { type Decision, REASONS } from "../../../src/model/decision.ts";
import type { Facts } from "../../../src/model/facts.ts";
import { type Address, ipv4 } from "../../../src/net/address.ts";

export const allowed: Decision = {
  action: "Allow",
  policy: "ClusterEgressPolicy/app1",
  rule: "github",
  reason: "RuleMatched",
};
export const denied: Decision = { action: "Deny", policy: null, rule: null, reason: "DefaultDeny" };

export function tupleTo(clientPort: number, server: Address = ipv4(0xc0000201)): FlowTuple {
  return { protocol: 6, client: ipv4(0x0af40002), server, clientPort, serverPort: 443 };
}

export function factsTo(name: string): Facts {
  return {
    address: ipv4(0xc0000201),
    port: 443,
    protocol: 6,
    names: [name],
    aliases: [],
    namesFinal: true,
    application: "TLS",
    evidence: name,
    nameHidden: false,
    encryptedClientHello: false,
    method: null,
    path: null,
    ended: true,
  };
}

export function event(parts: Partial<FlowEvent> = {}): FlowEvent {
  return {
    kind: "flow",
    flowId: 1,
    time: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
    workloadId: 7,
    tuple: tupleTo(40000),
    application: "TLS",
    name: "api.github.com",
    method: null,
    path: null,
    decision: allowed,
    audit: null,
    facts: factsTo("api.github.com"),
    state: "allowed",
    ...parts,
  };
}

export const word = fc.integer({ min: 0, max: 0xffffffff });
export const port = fc.integer({ min: 0, max: 65535 });
export const address = fc.record({ w0: word, w1: word, w2: word, w3: word }, { noNullPrototype: true });
const name = fc.stringMatching(/^[a-z0-9-]{1,20}(\.[a-z]{2,60}){1,3}$/);
const some = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null });
const decision: fc.Arbitrary<Decision> = fc.record(
  {
    action: fc.constantFrom("Allow", "Deny"),
    policy: some(fc.string({ maxLength: 60 })),
    rule: some(fc.string({ unit: "grapheme", maxLength: 20 })),
    reason: fc.constantFrom(...REASONS),
  },
  { noNullPrototype: true },
);
const application = fc.constantFrom("Unknown", "TLS", "QUIC", "HTTP", "DNS", "Other", "ServerFirst");
const maybe = <T>(of: fc.Arbitrary<T>) => fc.oneof(of, fc.constant(null), fc.constant(undefined));

function anyFacts(texts: fc.Arbitrary<string>): fc.Arbitrary<Facts> {
  return fc.record(
    {
      address,
      port,
      protocol: fc.integer({ min: 0, max: 255 }),
      names: fc.array(texts, { maxLength: 5 }),
      aliases: fc.array(texts, { maxLength: 3 }),
      namesFinal: fc.boolean(),
      application,
      evidence: maybe(texts),
      nameHidden: fc.boolean(),
      encryptedClientHello: fc.constantFrom(true, false, undefined),
      method: maybe(fc.constantFrom("GET", "POST")),
      path: maybe(texts),
      ended: fc.boolean(),
    },
    { noNullPrototype: true },
  ) as fc.Arbitrary<Facts>;
}

export const tuple: fc.Arbitrary<FlowTuple> = fc.record(
  {
    protocol: fc.integer({ min: 0, max: 255 }),
    client: address,
    server: address,
    clientPort: port,
    serverPort: port,
  },
  { noNullPrototype: true },
);

/** Events whose texts are drawn from `texts`. */
export function anyEvent(texts: fc.Arbitrary<string> = name): fc.Arbitrary<FlowEvent> {
  return fc.record(
    {
      kind: fc.constantFrom("flow", "request", "dns"),
      flowId: fc.maxSafeNat(),
      time: fc.integer({ min: 0, max: 4e12 }),
      workloadId: fc.integer({ min: -1, max: 1e9 }),
      tuple,
      application,
      name: some(texts),
      method: some(fc.constantFrom("GET", "POST")),
      path: some(texts),
      decision,
      audit: some(decision),
      facts: some(anyFacts(texts)),
      state: fc.constantFrom("allowed", "http", "rejected", "none"),
    },
    { noNullPrototype: true },
  ) as fc.Arbitrary<FlowEvent>;
}
