import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { address, agentConfig, compileScene, facts, workload } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";

interface Block {
  readonly cidr: string;
  readonly except?: readonly string[];
}
interface Port {
  readonly protocol?: string;
  readonly port?: number | string;
  readonly endPort?: number;
}
interface Rule {
  readonly to?: readonly ({ readonly ipBlock: Block } | { readonly podSelector: object })[];
  readonly ports?: readonly Port[];
}

/** A flow that leaves the cluster; the protocol by its number. */
interface Flow {
  readonly to: string;
  readonly protocol: number;
  readonly port: number;
}

const NUMBERS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Upstream's words once more, on numbers instead of tables: does a rule accept what goes to an address outside? */
function accepts({ to = [], ports = [] }: Rule, flow: Flow): boolean {
  const destination =
    to.length === 0 || to.some((peer) => "ipBlock" in peer && contains(peer.ipBlock, octets(flow.to)));
  const port =
    ports.length === 0 ||
    ports.some(({ protocol = "TCP", port: first, endPort }) => {
      if (NUMBERS[protocol] !== flow.protocol || typeof first === "string") return false;
      return first === undefined || (flow.port >= first && flow.port <= (endPort ?? first));
    });
  return destination && port;
}

function contains({ cidr, except = [] }: Block, destination: readonly number[]): boolean {
  return within(cidr, destination) && !except.some((range) => within(range, destination));
}

/** Bit by bit. */
function within(range: string, destination: readonly number[]): boolean {
  const [text = "", length = ""] = range.split("/");
  const base = octets(text);
  if (base.length !== destination.length) return false;
  const bit = (of: readonly number[], at: number) => ((of[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
  return Array.from({ length: Number(length) }, (_, at) => at).every((at) => bit(base, at) === bit(destination, at));
}

function octets(text: string): number[] {
  if (!text.includes(":")) return text.split(".").map(Number);
  const [head = "", tail = ""] = text.split("::");
  const words = (part: string) => (part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16)));
  const [first, last] = [words(head), words(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return all.flatMap((word) => [word >> 8, word & 255]);
}

const byte = fc.constantFrom(0, 1, 127, 128, 200, 255);
const v4 = fc.tuple(fc.constantFrom(198, 203), fc.constantFrom(0, 51), byte, byte).map((parts) => parts.join("."));
const word = fc.constantFrom("0", "1", "8000", "ffff");
const v6 = fc.tuple(word, word).map(([a, b]) => `2001:db8:${a}::${b}`);
/** Exceptions lie inside, and are narrower: so the API server wants them. */
const block: fc.Arbitrary<Block> = fc.oneof(
  fc
    .tuple(v4, fc.integer({ min: 0, max: 31 }), fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 2 }))
    .map(([base, length, deeper]) => ({
      cidr: `${base}/${length}`,
      except: deeper.map((more) => `${base}/${Math.min(32, length + more)}`),
    })),
  fc.tuple(v6, fc.integer({ min: 0, max: 127 }), fc.boolean()).map(([base, length, out]) => ({
    cidr: `${base}/${length}`,
    except: out ? [`${base}/${Math.min(128, length + 9)}`] : [],
  })),
);
const number = fc.constantFrom(1, 22, 53, 80, 443, 8080, 65535);
const port: fc.Arbitrary<Port> = fc
  .record({
    protocol: fc.constantFrom(undefined, "TCP", "UDP", "SCTP"),
    port: fc.oneof(fc.constant(undefined), number, number, fc.constant("https")),
    more: fc.constantFrom(undefined, 0, 100),
  })
  .map(({ protocol, port: first, more }) => ({
    ...(protocol === undefined ? {} : { protocol }),
    ...(first === undefined ? {} : { port: first }),
    ...(typeof first === "number" && more !== undefined ? { endPort: Math.min(65535, first + more) } : {}),
  }));
const rule: fc.Arbitrary<Rule> = fc.record(
  {
    to: fc.array(
      fc.oneof(
        { weight: 3, arbitrary: block.map((ipBlock) => ({ ipBlock })) },
        { weight: 1, arbitrary: fc.constant({ podSelector: {} }) },
      ),
      { maxLength: 3 },
    ),
    ports: fc.array(port, { maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const flow: fc.Arbitrary<Flow> = fc.record({
  to: fc.oneof(v4, v6),
  protocol: fc.constantFrom(6, 6, 17, 132),
  port: fc.oneof(number, fc.integer({ min: 1, max: 65535 })),
});

const CONFIG = {
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "AgentConfig",
  metadata: { name: "default" },
  spec: { resolvers: ["10.96.0.10"], podCIDRs: ["10.244.0.0/24"], sources: ["NetworkPolicy"] },
};
const POD = workload(1, "team/web");

/** Each array of rules is a policy that selects the pod. */
function decider(policies: readonly (readonly Rule[])[]): (flow: Flow) => boolean {
  const documents = policies.map((egress, index) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `p${index}`, namespace: "team" },
    spec: { podSelector: {}, policyTypes: ["Egress"], egress },
  }));
  const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: [CONFIG, ...documents] });
  const loaded = loadDocuments([{ path: "f", text }]);
  expect(loaded.problems.filter(({ severity }) => severity === "error")).toEqual([]);
  const program = compileScene({
    policies: loaded.policies,
    workloads: [POD],
    config: agentConfig({ clusterCIDRs: [], internalEndpoints: [] }),
  });
  return ({ to, protocol, port: wanted }) => {
    const decision = decide(
      program,
      program.classOf(POD.id),
      facts({ address: address(to), protocol, port: wanted }),
      "enforce",
    );
    if (decision === null) throw new Error("an address is known at the first packet");
    return decision.action === "Allow";
  };
}

describe("NetworkPolicy", () => {
  test("property: accepts outside what upstream's words accept, block by block", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(rule, { maxLength: 3 }), { minLength: 1, maxLength: 3 }),
        fc.array(flow, { minLength: 12, maxLength: 12 }),
        (policies, flows) => {
          const allowed = decider(policies);
          for (const one of flows) expect(allowed(one)).toBe(policies.flat().some((own) => accepts(own, one)));
        },
      ),
      { numRuns: runs(250) },
    );
  });

  test("property: one more takes nothing away, the first one alone gives nothing", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(rule, { maxLength: 2 }), { minLength: 1, maxLength: 3 }),
        fc.array(rule, { maxLength: 2 }),
        fc.array(flow, { minLength: 8, maxLength: 8 }),
        (policies, more, flows) => {
          const [none, before, after] = [decider([]), decider(policies), decider([...policies, more])];
          for (const one of flows) {
            expect(none(one)).toBe(true);
            if (before(one)) expect(after(one)).toBe(true);
          }
        },
      ),
      { numRuns: runs(100) },
    );
  });
});
