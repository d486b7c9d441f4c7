import * as z from "zod";
import { STANDARD_KINDS } from "../model/policy.ts";
import { MAX_PORT } from "../net/ports.ts";
import { at, checked, shown } from "./check.ts";
import { AddressText, CidrText, ClusterDomain, LabelName, listOf } from "./values.ts";

const MARK_BITS = 6;

const InternalEndpoint = z
  .object({
    address: AddressText,
    protocol: z.enum(["TCP", "UDP", "SCTP"]).default("TCP").meta({ description: "Its protocol." }),
    port: z.int().min(1).max(MAX_PORT).meta({ description: "Its port." }),
  })
  .meta({ description: "An address and port that count as inside." });

/** Every run of six bits in 32. */
const RUNS = Array.from({ length: 32 - MARK_BITS + 1 }, (_, low) => (2 ** MARK_BITS - 1) * 2 ** low);

/** A number, or hexadecimal text for JSON, which has no such numbers. */
const MarkMask = checked(
  z
    .union([z.int(), z.string()], { error: "`markMask` must be a number, as in `0x3f`" })
    .default(0x3f)
    .meta({
      description: `Bits of packet and conntrack marks that are Sallyport's: ${MARK_BITS} in a row. A number, or text such as \`0x3f00\`. Read at start only.`,
    }),
  {
    name: "mark-mask",
    api: {
      by: "cel",
      rule: `type(self) == int ? self in [${RUNS.join(", ")}] : size(self) <= 10 && self.matches('^0x0*(3[fF]|7[eE]|[fF][cC]|1[fF]8)0*$')`,
      message: `no mark mask: use ${MARK_BITS} bits in a row, as in \`0x3f\` or \`0x3f00\``,
    },
    find(value) {
      if (value === undefined) return null;
      const mask = markMaskOf(value);
      if (mask !== null && isRun(mask)) return null;
      return at(
        `${shown(mask === null ? value : `0x${mask.toString(16)}`)} is no mark mask: use ${MARK_BITS} bits in a row, as in \`0x3f\` or \`0x3f00\``,
      );
    },
  },
);

/** The mask as an unsigned 32-bit number; null if it is none. */
export function markMaskOf(value: number | string): number | null {
  const number = typeof value === "number" ? value : /^0x[0-9a-fA-F]{1,8}$/.test(value) ? Number(value) : -1;
  return number > 0 && number <= 0xffffffff ? number : null;
}

function isRun(mask: number): boolean {
  const lowest = 31 - Math.clz32(mask & -mask);
  return mask / 2 ** lowest === 2 ** MARK_BITS - 1;
}

const bound = (value: number, least: number, most: number, what: string) =>
  z.int().min(least).max(most).default(value).meta({ description: what });

const Limits = z.object({
  lookingFlows: bound(4096, 1, 1_000_000, "Flows that are not decided yet."),
  heldPackets: bound(64, 1, 65_536, "Packets that wait: for a name, for the resolver, for the rest of a hello."),
  reassemblyBytes: bound(4 * 1024 * 1024, 65_536, 1024 * 1024 * 1024, "Bytes of memory for the first bytes of flows."),
  bindings: bound(4096, 1, 1_000_000, "Pairs of name and address that it resolved."),
  pendingQuestions: bound(512, 1, 65_536, "DNS questions that wait for their answer."),
  resolutions: bound(32, 0, 4096, "Names that the agent resolves for it at the same time. 0: none."),
  unknownSourceHold: bound(2000, 0, 60_000, "Milliseconds that packets of a pod are held that is not known yet."),
  factsTimeout: bound(30_000, 100, 600_000, "Milliseconds after its first byte that a flow may take to show its name."),
});

/** IFNAMSIZ is 16 with the closing NUL. Quotes have no place in the rules that these words become part of. */
const InterfacePattern = z
  .string()
  .regex(/^[A-Za-z0-9_.@:-]{1,15}\*?$/, {
    error: ({ input }) => `${shown(input)} is no name of an interface: write it as in \`cali*\``,
  })
  .max(16)
  .meta({ description: "A name, or its beginning and `*`." });

const PodInterfaces = z.array(InterfacePattern).max(16).default([]).meta({
  description:
    "Interfaces of the node of which each leads to one of its pods, for networks whose pods have addresses outside `podCIDRs`: what comes from there is held until its pod is known.",
});

/** What differs from node to node, or can be found in a cluster: a file has to say it. */
const found = {
  resolvers: {
    list: listOf(AddressText, 32, "`resolvers` is empty: name at least one trusted DNS resolver"),
    is: "Trusted DNS resolvers, as pods address them and behind the Service. Questions to them are judged by name, their answers are learned.",
  },
  clusterCIDRs: { list: z.array(CidrText).max(256), is: "Pods and services of the whole cluster: not egress." },
  podCIDRs: {
    list: listOf(CidrText, 256, "`podCIDRs` is empty: name the ranges of this node's pods"),
    is: "Ranges of the node's own pods: every source in them is a workload, known or not yet known.",
  },
  internalEndpoints: {
    list: z.array(InternalEndpoint).max(256),
    is: "Node and API server addresses that are inside.",
  },
};

export const AgentConfigSpec = z.object({
  resolvers: found.resolvers.list.meta({ description: found.resolvers.is }),
  agentResolvers: listOf(AddressText, 32, "`agentResolvers` is empty: leave it out to use `resolvers`")
    .optional()
    .meta({ description: "Where the agent itself asks. Left out: `resolvers`." }),
  clusterCIDRs: found.clusterCIDRs.list.default([]).meta({ description: found.clusterCIDRs.is }),
  podCIDRs: found.podCIDRs.list.meta({ description: found.podCIDRs.is }),
  publicPodCIDRs: z.array(CidrText).max(64).default([]).meta({
    description:
      "Public addresses that pods of this cluster have. What Nodes say of their pods is inside by itself only where nobody on the Internet has the address, and here. Of no effect where `clusterCIDRs` is set.",
  }),
  podInterfaces: PodInterfaces,
  internalEndpoints: found.internalEndpoints.list.default([]).meta({ description: found.internalEndpoints.is }),
  clusterDomain: ClusterDomain.default("cluster.local").meta({
    description: "Names under it may always be asked for, and may be bound to inside addresses.",
  }),
  systemNamespaces: z
    .array(LabelName)
    .max(64)
    .default(["kube-system", "sallyport"])
    .meta({ description: "Namespaces that a cluster policy with an empty subject skips." }),
  sources: z
    .array(z.enum(STANDARD_KINDS).meta({ description: "A kind of Kubernetes." }))
    .max(8)
    .default([])
    .meta({
      description:
        "Standard policies that are enforced beside Sallyport's own, for clusters whose network ignores them. They narrow: what Sallyport's own policies deny stays denied.",
    }),
  failMode: z.enum(["Closed", "Open"]).default("Closed").meta({
    description:
      "What new flows of selected pods meet while the agent gives no verdicts: they wait (`Closed`), or pass (`Open`).",
  }),
  existingFlows: z.enum(["Adopt", "End"]).default("Adopt").meta({
    description:
      "Flows of selected pods that were open before the agent and that nobody decided: decided on address and port alone (`Adopt`), or ended (`End`).",
  }),
  dnsDenial: z.enum(["NXDomain", "Refused"]).default("NXDomain").meta({
    description: "How a denied DNS question is answered. With `Refused`, musl gives up its search list.",
  }),
  markMask: MarkMask,
  queueNumber: z.int().min(0).max(65_532).default(5100).meta({
    description: "The first of four NFQUEUE numbers. Read at start only.",
  }),
  limits: Limits.prefault({}).meta({ description: "Bounds per workload." }),
});

const mayBeFound = <S extends z.ZodType>({ list, is }: { readonly list: S; readonly is: string }) =>
  list.optional().meta({ description: `${is} Left out: as the agent finds them in the cluster.` });

/** As an API server holds it. A list that is there but empty is meant so. */
export const ClusterAgentConfigSpec = AgentConfigSpec.extend({
  resolvers: mayBeFound(found.resolvers),
  clusterCIDRs: mayBeFound(found.clusterCIDRs),
  podCIDRs: mayBeFound(found.podCIDRs),
  internalEndpoints: mayBeFound(found.internalEndpoints),
});

export type AgentConfigText = z.output<typeof AgentConfigSpec>;
export type ClusterAgentConfigText = z.output<typeof ClusterAgentConfigSpec>;
