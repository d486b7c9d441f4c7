import type { Conntrack } from "../../kernel/conntrack.ts";
import type { ConntrackEntry } from "../../kernel/conntrack-entry.ts";
import type { Address } from "../../net/address.ts";
import { Turns } from "../turns.ts";

/** Packets that pods sent, as conntrack has them of the flows that it knows now. By the pod's id. */
export interface Census {
  /** To or from others than the node. */
  readonly forwarded: ReadonlyMap<number, number>;
  /** To the node itself. */
  readonly toNode: ReadonlyMap<number, number>;
}

/** Where conntrack does not count: more than a flow has mostly, so that a pod is rather believed than not. */
const UNCOUNTED = 1_000;
const SEEN_REPLY = 1 << 1;

export const keyOf = ({ w0, w1, w2, w3 }: Address): string => `${w0} ${w1} ${w2} ${w3}`;

/**
 * Walks all of conntrack, in turns with others on this thread. Keys of both are those of `keyOf`. @throws SystemError where the kernel does not
 * answer
 */
export async function takeCensus(
  conntrack: Pick<Conntrack, "dumpInPieces">,
  pods: ReadonlyMap<string, number>,
  nodeAddresses: ReadonlySet<string>,
): Promise<Census> {
  const forwarded = new Map<number, number>();
  const toNode = new Map<number, number>();
  // Of a million entries most are of nobody that is asked for: told without making a key.
  const lasts = new Set([...pods.keys()].map((key) => Number(key.slice(key.lastIndexOf(" ") + 1))));
  const podAt = (address: Address): number | undefined =>
    lasts.has(address.w3) ? pods.get(keyOf(address)) : undefined;
  const add = (pod: number, other: Address, packets: number): void => {
    const where = nodeAddresses.has(keyOf(other)) ? toNode : forwarded;
    where.set(pod, (where.get(pod) ?? 0) + packets);
  };
  const each = ({ original, reply, originalCounters, replyCounters, status }: ConntrackEntry): void => {
    const client = podAt(original.source);
    const server = podAt(reply.source);
    const counts = originalCounters.packets > 0;
    if (client !== undefined) add(client, reply.source, counts ? originalCounters.packets : UNCOUNTED);
    if (server === undefined) return;
    const answered = counts ? replyCounters.packets : (status & SEEN_REPLY) === 0 ? 0 : UNCOUNTED;
    add(server, original.source, answered);
  };
  const turns = new Turns();
  for (const family of ["ipv4", "ipv6"] as const) {
    for (const _ of conntrack.dumpInPieces(family, each)) if (turns.isOver()) await turns.next();
  }
  return { forwarded, toNode };
}
