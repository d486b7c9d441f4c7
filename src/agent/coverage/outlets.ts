import type { CountedLink } from "../../kernel/routing.ts";

/** A way by which packets of certain pods come to the node. */
export interface Outlet {
  /** For people: the interface, or what several have in common. */
  readonly name: string;
  /** It is one pod's own interface. */
  readonly own: boolean;
  /** Ids of the pods behind it. */
  readonly pods: readonly number[];
  /** Packets that have come in by it; of several links their sum. */
  readonly received: number;
}

/** Links of which the node's end is one pod's. What comes from a bridge, a switch or a tunnel is of several, and not all of it is for the node. */
const LINK_KINDS: ReadonlySet<string> = new Set(["veth", "netkit"]);

/**
 * Where pods' packets come to the node, as far as that can be told. `linksOf`: indices of the interfaces by which the node reaches each pod.
 *
 * Some networks lead to all pods by one pair of links of the node (`cilium_host`), while what pods send comes in by links that no route names: those count
 * together, for all pods that are reached so.
 */
export function outletsOf(
  linksOf: ReadonlyMap<number, ReadonlySet<number>>,
  links: readonly CountedLink[],
): readonly Outlet[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const podsBehind = new Map<number, number[]>();
  for (const [pod, indices] of linksOf) {
    for (const index of indices) podsBehind.set(index, [...(podsBehind.get(index) ?? []), pod]);
  }
  const outlets: Outlet[] = [];
  const shared = new Set<number>();
  for (const [index, pods] of podsBehind) {
    const link = byIndex.get(index);
    if (link === undefined || !LINK_KINDS.has(link.kind)) continue;
    if (link.peer === 0 && pods.length === 1)
      outlets.push({ name: link.name, own: true, pods, received: link.received });
    else for (const pod of pods) shared.add(pod);
  }
  if (shared.size === 0) return outlets;
  const nameless = links.filter(
    ({ index, kind, controller, peer }) =>
      LINK_KINDS.has(kind) && controller === 0 && peer === 0 && !podsBehind.has(index),
  );
  const received = nameless.reduce((sum, link) => sum + link.received, 0);
  if (nameless.length > 0) outlets.push({ name: "the pods' interfaces", own: false, pods: [...shared], received });
  return outlets;
}
