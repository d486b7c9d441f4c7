import type { NodeStatusText } from "../../policy/status-schema.ts";
import { ageOf } from "../duration.ts";
import { table } from "../output.ts";

/** What a pod was denied lately, as its node's agent tells it. Times are RFC 3339. */
export interface DenialRow {
  /** `TCP api.example:443`, `DNS api.example`, `ICMP 192.0.2.1`. */
  readonly destination: string;
  readonly reason: string;
  /** `Kind/namespace/name`; null: no rule decided. */
  readonly policy: string | null;
  readonly rule: string | null;
  readonly count: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
}

/** A pod of a node, and how often it was denied something lately. */
export interface DeniedPod {
  /** `namespace/name`. */
  readonly pod: string;
  readonly count: number;
  readonly lastSeen: string;
}

export interface NodeDenials {
  readonly count: number;
  readonly pods: number;
  /** Those that were denied most. */
  readonly most: readonly DeniedPod[];
}

type DenialText = NonNullable<NodeStatusText["denials"]>[number];

const MOST_PODS = 8;
const SHOWN = 5;

/** Of the pod with this uid, the newest first: one of the same name may have been there before. */
export function denialsOf(status: NodeStatusText | null, uid: string): DenialRow[] {
  const own = (status?.denials ?? []).filter(({ podUid }) => podUid === uid);
  return own
    .toSorted((a, b) => Date.parse(b.lastSeen) - Date.parse(a.lastSeen))
    .map(({ destination, reason, policy = null, rule = null, count, firstSeen, lastSeen }) => {
      return { destination, reason, policy, rule, count, firstSeen, lastSeen };
    });
}

/** Of a whole node, what its agent had no room for among them. */
export function nodeDenials({ denials = [], denialsLeftOut = 0 }: NodeStatusText): NodeDenials {
  const byPod = Map.groupBy(denials, ({ podUid, namespace, pod }) => `${namespace}/${pod}/${podUid}`);
  const all = [...byPod.values()].map(deniedPod).toSorted((a, b) => b.count - a.count);
  const told = all.reduce((sum, { count }) => sum + count, 0);
  return { count: told + denialsLeftOut, pods: all.length, most: all.slice(0, MOST_PODS) };
}

function deniedPod(denials: readonly DenialText[]): DeniedPod {
  const [{ namespace, pod }] = denials as [DenialText];
  const last = denials.reduce((a, b) => (Date.parse(b.lastSeen) > Date.parse(a.lastSeen) ? b : a));
  const count = denials.reduce((sum, one) => sum + one.count, 0);
  return { pod: `${namespace}/${pod}`, count, lastSeen: last.lastSeen };
}

/** All nodes together. */
export function sumDenials(nodes: readonly NodeDenials[]): NodeDenials {
  return {
    count: nodes.reduce((sum, { count }) => sum + count, 0),
    pods: nodes.reduce((sum, { pods }) => sum + pods, 0),
    most: nodes
      .flatMap(({ most }) => most)
      .toSorted((a, b) => b.count - a.count)
      .slice(0, MOST_PODS),
  };
}

/** One line: how many, and of whom most. */
export function sumText({ count, pods, most }: NodeDenials): string {
  if (count === 0) return "none lately";
  const named = most.slice(0, SHOWN).map((one) => `${one.pod} ${one.count}`);
  const more = pods > named.length ? ", ..." : "";
  return `${count} lately, of ${pods} ${pods === 1 ? "pod" : "pods"}: ${named.join(", ")}${more}`;
}

/** A table under what was asked; "" where there are none. */
export function denialsText(denials: readonly DenialRow[]): string {
  if (denials.length === 0) return "";
  const rows = denials.map(({ destination, reason, policy, rule, count, lastSeen }) => [
    destination,
    reason,
    policy === null ? "-" : `${policy}${rule === null ? "" : ` ${rule}`}`,
    String(count),
    `${ageOf(lastSeen)} ago`,
  ]);
  return `\n${table([["DENIED LATELY", "REASON", "BY", "TIMES", "LAST"], ...rows])}`;
}
