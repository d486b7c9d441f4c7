import * as z from "zod";
import { MAX_PORT } from "../net/ports.ts";
import { at, checked, shown } from "./check.ts";
import { AddressText, CidrText, ClusterDomain, LabelName, listOf } from "./values.ts";

const MARK_BITS = 6;

const InternalEndpoint = z.object({
  address: AddressText,
  protocol: z.enum(["TCP", "UDP", "SCTP"]).default("TCP"),
  port: z.int().min(1).max(MAX_PORT),
});

/** A number, or hexadecimal text for JSON, which has no such numbers. */
const MarkMask = checked(
  z
    .union([z.int(), z.string()], { error: "`markMask` must be a number, as in `0x3f`" })
    .default(0x3f)
    .meta({ description: `Bits of packet and conntrack marks that are Sallyport's: ${MARK_BITS} in a row.` }),
  {
    name: "mark-mask",
    cel: null,
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

const bound = (value: number, least: number, most: number) => z.int().min(least).max(most).default(value);

const Limits = z.object({
  lookingFlows: bound(4096, 1, 1_000_000),
  heldPackets: bound(64, 1, 65_536),
  reassemblyBytes: bound(4 * 1024 * 1024, 65_536, 1024 * 1024 * 1024),
  bindings: bound(4096, 1, 1_000_000),
  pendingQuestions: bound(512, 1, 65_536),
  resolutions: bound(32, 0, 4096),
  unknownSourceHold: bound(2000, 0, 60_000).meta({ description: "Milliseconds." }),
  factsTimeout: bound(30_000, 100, 600_000).meta({ description: "Milliseconds." }),
});

export const AgentConfigSpec = z.object({
  resolvers: listOf(AddressText, "`resolvers` is empty: name at least one trusted DNS resolver"),
  agentResolvers: listOf(AddressText, "`agentResolvers` is empty: leave it out to use `resolvers`").optional(),
  clusterCIDRs: z
    .array(CidrText)
    .default([])
    .meta({ description: "Pods and services of the whole cluster: not egress." }),
  podCIDRs: listOf(CidrText, "`podCIDRs` is empty: name the ranges of this node's pods"),
  internalEndpoints: z.array(InternalEndpoint).default([]),
  clusterDomain: ClusterDomain.default("cluster.local"),
  systemNamespaces: z.array(LabelName).default(["kube-system", "sallyport"]),
  failMode: z.enum(["Closed", "Open"]).default("Closed"),
  existingFlows: z.enum(["Adopt", "End"]).default("Adopt"),
  dnsDenial: z.enum(["NXDomain", "Refused"]).default("NXDomain"),
  markMask: MarkMask,
  queueNumber: z.int().min(0).max(65_532).default(5100),
  limits: Limits.prefault({}),
});

export type AgentConfigText = z.output<typeof AgentConfigSpec>;
