import * as z from "zod";
import type { Rule } from "../../model/policy.ts";
import { cidrCovers } from "../../net/cidr.ts";
import { MAX_PORT, type PortRange, protocolNumber } from "../../net/ports.ts";
import { at, checked, choice, shown } from "../check.ts";
import { LabelName, ObjectName } from "../values.ts";
import { destinations, type Ports, ruleName, type Where } from "./destinations.ts";
import { BY_ITS_OWN, PortNumber, Range, readRange, StandardSelector } from "./values.ts";

/**
 * Upstream has no bounds, and everybody with the role `edit` writes these. What is longer is not read in part: it accepts nothing.
 * `weight`: pairs of peer and port in a policy, each of which may have to be looked at for each connection.
 */
const MOST = { rules: 512, peers: 1024, except: 256, ports: 256, weight: 16_384 } as const;

const PORT_NAME = /^(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

const Port = checked(
  z.object({
    protocol: z.enum(["TCP", "UDP", "SCTP"]).default("TCP"),
    port: z
      .union([PortNumber, z.string().max(15).regex(PORT_NAME)], {
        error: "`port` must be a number from 1 to 65535, or the name of a port",
      })
      .optional(),
    endPort: PortNumber.optional(),
  }),
  {
    name: "end-port",
    api: BY_ITS_OWN,
    find({ port, endPort }) {
      if (endPort === undefined) return null;
      if (typeof port !== "number") return at("`endPort` needs the first port as a number in `port`", "endPort");
      return endPort >= port ? null : at(`\`endPort\` ${endPort} is below \`port\` ${port}: swap them`, "endPort");
    },
  },
);

const IpBlock = checked(z.object({ cidr: Range, except: z.array(Range).max(MOST.except).optional() }), {
  name: "except-inside-cidr",
  api: BY_ITS_OWN,
  find({ cidr, except = [] }) {
    const whole = readRange(cidr);
    return except.flatMap((text, index) => {
      const out = readRange(text);
      // A range that cannot be read has a finding of its own.
      if (whole === null || out === null || (cidrCovers(whole, out) && out.bits > whole.bits)) return [];
      return [at(`${shown(text)} is no part of ${shown(cidr)}: take it out`, "except", index)];
    });
  },
});

const Peer = checked(
  z.object({
    podSelector: StandardSelector.optional(),
    namespaceSelector: StandardSelector.optional(),
    ipBlock: IpBlock.optional(),
  }),
  {
    name: "one-kind-of-peer",
    api: BY_ITS_OWN,
    find({ podSelector, namespaceSelector, ipBlock }) {
      const inside = podSelector !== undefined || namespaceSelector !== undefined;
      if (inside !== (ipBlock !== undefined)) return null;
      return at(`a peer has either \`ipBlock\` or ${choice(["podSelector", "namespaceSelector"])}`);
    },
  },
);

export const NetworkPolicyRule = z.object({
  ports: z.array(Port).max(MOST.ports).optional(),
  to: z.array(Peer).max(MOST.peers).optional(),
});

/** `networking.k8s.io/v1`. Of `ingress` nothing is read. */
export const NetworkPolicySpec = z.object({
  podSelector: StandardSelector.default({}),
  ingress: z.unknown().optional(),
  egress: checked(z.array(NetworkPolicyRule).max(MOST.rules), {
    name: "not-too-heavy",
    api: BY_ITS_OWN,
    find(rules) {
      const weight = rules.reduce((sum, { to, ports }) => sum + (to?.length || 1) * (ports?.length || 1), 0);
      if (weight <= MOST.weight) return null;
      return at(`\`egress\` has ${weight} pairs of peer and port: use at most ${MOST.weight}, or several policies`);
    },
  }).optional(),
  policyTypes: z
    .array(z.enum(["Ingress", "Egress"]))
    .max(2)
    .optional(),
});

export const NetworkPolicyMeta = { name: ObjectName, namespace: LabelName };

/**
 * An egress rule: an entry for all blocks without exceptions, one for each other, and one for all peers that are pods, which matches nothing outside. No `to` is every
 * destination.
 */
export function networkPolicyRule(text: z.output<typeof NetworkPolicyRule>, index: number): Rule {
  const { to = [], ports = [] } = text;
  const blocks = to.flatMap(({ ipBlock }) => ipBlock ?? []);
  const wanted = ports.length === 0 ? null : portsOf(ports);
  const rule = { name: ruleName(index), action: "Accept", whenHidden: "Deny" } as const;
  if (to.length > 0) return { ...rule, to: destinations(entriesOf(blocks), blocks.length < to.length, wanted) };
  return { ...rule, to: wanted === null ? null : destinations([EVERYWHERE], wanted.named.length > 0, wanted) };
}

const EVERYWHERE = { domains: null, cidrs: null, except: [] } as const;

function entriesOf(blocks: readonly z.output<typeof IpBlock>[]): Where[] {
  const read = (text: string) => readRange(text)!;
  const isWhole = ({ except = [] }: z.output<typeof IpBlock>) => except.length === 0;
  const whole = blocks.filter(isWhole).map(({ cidr }) => read(cidr));
  const others = blocks.filter((block) => !isWhole(block));
  const entry = { domains: null, cidrs: whole, except: [] };
  return [
    ...(whole.length === 0 ? [] : [entry]),
    ...others.map(({ cidr, except = [] }) => ({ domains: null, cidrs: [read(cidr)], except: except.map(read) })),
  ];
}

function portsOf(ports: readonly z.output<typeof Port>[]): Ports {
  const numbered: PortRange[] = [];
  const named: number[] = [];
  for (const { protocol, port, endPort } of ports) {
    const number = protocolNumber(protocol);
    if (typeof port === "string") named.push(number);
    else numbered.push({ protocol: number, from: port ?? 0, to: endPort ?? port ?? MAX_PORT });
  }
  return { numbered, named };
}
