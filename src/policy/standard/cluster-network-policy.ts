import * as z from "zod";
import type { Rule, Subject } from "../../model/policy.ts";
import type { DomainPattern } from "../../net/pattern.ts";
import { type PortRange, SCTP, TCP, UDP } from "../../net/ports.ts";
import { at, type Check, checked, choice } from "../check.ts";
import { toSelector } from "../convert.ts";
import { ObjectName } from "../values.ts";
import { destinations, type Ports, ruleName, type Where } from "./destinations.ts";
import { BY_ITS_OWN, DomainName, PortNumber, Range, readName, readRange, StandardSelector } from "./values.ts";

/** "Exactly one field": none at all would be a kind of peer that a later version has. */
function oneOf(fields: readonly string[]): Check<Readonly<Record<string, unknown>>> {
  return {
    name: "exactly-one",
    api: BY_ITS_OWN,
    find(value) {
      const given = fields.filter((field) => value[field] !== undefined);
      return given.length === 1 ? null : at(`exactly one of ${choice(fields)} is wanted`);
    },
  };
}

const DestinationPort = checked(
  z.object({
    number: PortNumber.optional(),
    range: checked(z.object({ start: PortNumber, end: PortNumber }), {
      name: "range-order",
      api: BY_ITS_OWN,
      find: ({ start, end }) => (start < end ? null : at(`\`start\` ${start} is not below \`end\` ${end}`)),
    }).optional(),
  }),
  oneOf(["number", "range"]),
);

const Transport = z.object({ destinationPort: DestinationPort });

const Protocol = checked(
  z.object({
    tcp: Transport.optional(),
    udp: Transport.optional(),
    sctp: Transport.optional(),
    destinationNamedPort: z.string().min(1).max(63).optional(),
  }),
  oneOf(["tcp", "udp", "sctp", "destinationNamedPort"]),
);

const NamespacedPod = z.object({ namespaceSelector: StandardSelector.default({}), podSelector: StandardSelector });

const MOST = 25;

const Peer = checked(
  z.object({
    namespaces: StandardSelector.optional(),
    pods: NamespacedPod.optional(),
    nodes: StandardSelector.optional(),
    networks: z.array(Range).min(1).max(MOST).optional(),
    domainNames: z.array(DomainName).min(1).max(MOST).optional(),
  }),
  oneOf(["namespaces", "pods", "nodes", "networks", "domainNames"]),
  {
    name: "no-nodes",
    api: BY_ITS_OWN,
    find: ({ nodes }) =>
      nodes === undefined
        ? null
        : {
            ...at("`nodes` is not supported: write the ranges of the nodes as `networks`", "nodes"),
            notSupported: true,
          },
  },
);

export const ClusterNetworkPolicyRule = checked(
  z.object({
    name: z.string().max(100).optional(),
    action: z.enum(["Accept", "Deny", "Pass"]),
    to: z.array(Peer).min(1).max(MOST),
    protocols: z.array(Protocol).min(1).max(MOST).optional(),
  }),
  {
    name: "domain-names-on-accept",
    api: BY_ITS_OWN,
    find: ({ action, to }) =>
      action === "Accept"
        ? null
        : to.flatMap(({ domainNames }, index) =>
            domainNames === undefined
              ? []
              : [at(`\`domainNames\` is for \`Accept\` rules, and this one is \`${action}\``, "to", index)],
          ),
  },
  {
    name: "named-port-on-pods",
    api: BY_ITS_OWN,
    find: ({ to, protocols = [] }) =>
      protocols.some(({ destinationNamedPort }) => destinationNamedPort !== undefined) &&
      to.some(({ networks, nodes, domainNames }) => (networks ?? nodes ?? domainNames) !== undefined)
        ? at("`destinationNamedPort` is for pods: what lies outside has no names for its ports", "protocols")
        : null,
  },
);

const ClusterNetworkSubject = checked(
  z.object({ namespaces: StandardSelector.optional(), pods: NamespacedPod.optional() }),
  oneOf(["namespaces", "pods"]),
);

/** `policy.networking.k8s.io/v1alpha2`. Of `ingress` nothing is read. */
export const ClusterNetworkPolicySpec = z.object({
  tier: z.enum(["Admin", "Baseline"]),
  priority: z.int().min(0).max(1000),
  subject: ClusterNetworkSubject,
  ingress: z.unknown().optional(),
  egress: z.array(ClusterNetworkPolicyRule).max(MOST).optional(),
});

export const ClusterNetworkPolicyMeta = { name: ObjectName };

export function clusterNetworkSubject({ namespaces, pods }: z.output<typeof ClusterNetworkSubject>): Subject {
  return {
    namespaceSelector: toSelector(pods?.namespaceSelector ?? namespaces ?? {}),
    podSelector: pods === undefined ? null : toSelector(pods.podSelector),
    serviceAccounts: null,
  };
}

/** An egress rule: an entry for each peer outside, and one for all that are pods, which matches nothing outside. */
export function clusterNetworkPolicyRule(text: z.output<typeof ClusterNetworkPolicyRule>, index: number): Rule {
  const { name, action, to, protocols } = text;
  const outside = to.flatMap(({ networks, domainNames }): Where[] => {
    if (networks !== undefined) {
      return [{ domains: null, cidrs: networks.map((range) => readRange(range)!), except: [] }];
    }
    return domainNames === undefined ? [] : [{ domains: domainNames.map(pattern), cidrs: null, except: [] }];
  });
  return {
    name: ruleName(index, name),
    action,
    to: destinations(outside, outside.length < to.length, protocols === undefined ? null : portsOf(protocols)),
    whenHidden: "Deny",
  };
}

function pattern(text: string): DomainPattern {
  const { below, name } = readName(text)!;
  return { kind: below ? "below" : "exact", name };
}

function portsOf(protocols: readonly z.output<typeof Protocol>[]): Ports {
  const numbered: PortRange[] = [];
  const named: number[] = [];
  for (const { tcp, udp, sctp, destinationNamedPort } of protocols) {
    // The name says the protocol, too.
    if (destinationNamedPort !== undefined) named.push(TCP, UDP, SCTP);
    const transport = tcp ?? udp ?? sctp;
    if (transport === undefined) continue;
    const { number, range } = transport.destinationPort;
    const protocol = tcp !== undefined ? TCP : udp !== undefined ? UDP : SCTP;
    numbered.push({ protocol, from: range?.start ?? number ?? 1, to: range?.end ?? number ?? 0 });
  }
  return { numbered, named };
}
