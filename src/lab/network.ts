import { CROWD, GATEWAY, OUTSIDE } from "./addresses.ts";
import type { Layout, NodeLayout, PodLayout } from "./layout.ts";
import { fabricNetns, outsideNetns } from "./names.ts";
import { inNetworkOnly, must, run, together } from "./process.ts";
import { masqueradeRules } from "./services.ts";

/**
 *   pod eth0 ── podN  node  eth0 ── nodeN  fabric (bridge)  gateway ── eth0  outside
 *
 * Pods are wired as the `ptp` CNI plug-in does it: a /32 and a /128, a route to the gateway address, default through
 * it. Nodes reach each other's pods through the segment. Nothing leads to the machine's own network namespace.
 */
export async function buildNetwork(layout: Layout): Promise<void> {
  const fabric = fabricNetns(layout.name);
  const outside = outsideNetns(layout.name);
  const all = [fabric, outside, ...layout.nodes.map((node) => node.netns), ...layout.pods.map((pod) => pod.netns)];
  await batch(
    null,
    all.map((netns) => `netns add ${netns}`),
  );
  // Settings first: an interface takes the defaults of its namespace at birth, duplicate address detection included.
  await together([
    settings(fabric, []),
    settings(outside, ["net/ipv4/tcp_fastopen=3", "net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0"]),
    ...layout.nodes.map((node) => settings(node.netns, ROUTER)),
    ...layout.pods.map((pod) => settings(pod.netns, [])),
  ]);
  await batch(null, [
    `link add eth0 netns ${outside} type veth peer name gateway netns ${fabric}`,
    ...layout.nodes.map(
      (node) => `link add eth0 netns ${node.netns} type veth peer name node${node.index} netns ${fabric}`,
    ),
    ...layout.pods.map((pod) => link(layout, pod)),
  ]);
  await together([
    batch(fabric, fabricLines(layout)),
    batch(outside, outsideLines(layout)),
    ...layout.nodes.map((node) => batch(node.netns, nodeLines(layout, node))),
    ...layout.pods.map((pod) => batch(pod.netns, podLines(layout, pod))),
  ]);
  if (!layout.masquerade) return;
  await together(layout.nodes.map((node) => loadRules(node.netns, masqueradeRules())));
}

/** Adds one pod to a running lab. */
export async function connectPod(layout: Layout, pod: PodLayout): Promise<void> {
  const node = nodeOf(layout, pod);
  await batch(null, [`netns add ${pod.netns}`]);
  await settings(pod.netns, []);
  await batch(null, [link(layout, pod)]);
  await together([batch(pod.netns, podLines(layout, pod)), batch(node.netns, linkLines(node, pod))]);
}

/**
 * Takes the pod's link away, and with it the routes to its addresses. The kernel would do so when the namespace goes, but some time later: too
 * late for a next pod with the same addresses. A test may have taken it away before.
 */
export async function disconnectPod(layout: Layout, pod: PodLayout): Promise<void> {
  await run(["ip", "-n", nodeOf(layout, pod).netns, "link", "del", pod.link]);
}

/** Replaces nothing, adds: the text of one or more nft tables, in one transaction. */
export async function loadRules(netns: string, rules: string): Promise<void> {
  await must(inNetworkOnly(netns, ["nft", "-f", "-"]), { input: rules });
}

const EVERYWHERE = [
  "net/ipv6/conf/all/disable_ipv6=0",
  "net/ipv6/conf/default/disable_ipv6=0",
  "net/ipv6/conf/default/accept_dad=0",
  "net/ipv6/conf/default/accept_ra=0",
  "net/ipv6/conf/default/router_solicitations=0",
  "net/ipv4/conf/all/rp_filter=0",
  "net/ipv4/conf/default/rp_filter=0",
];

const ROUTER = [
  "net/ipv4/ip_forward=1",
  "net/ipv6/conf/all/forwarding=1",
  "net/ipv4/conf/all/send_redirects=0",
  "net/ipv4/conf/default/send_redirects=0",
];

async function settings(netns: string, more: readonly string[]): Promise<void> {
  const script = [...EVERYWHERE, ...more]
    .map((line) => line.replace(/^(.*)=(.*)$/, "echo $2 >/proc/sys/$1"))
    .join("\n");
  await must(inNetworkOnly(netns, ["sh", "-e", "-s"]), { input: `${script}\n` });
}

async function batch(netns: string | null, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await must(["ip", ...(netns === null ? [] : ["-n", netns]), "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

function nodeOf(layout: Layout, pod: PodLayout): NodeLayout {
  const node = layout.nodes.find((other) => other.index === pod.node);
  if (node === undefined)
    throw new Error(`pod \`${pod.namespace}/${pod.name}\` is on no node of lab \`${layout.name}\``);
  return node;
}

function link(layout: Layout, pod: PodLayout): string {
  return `link add eth0 netns ${pod.netns} type veth peer name ${pod.link} netns ${nodeOf(layout, pod).netns}`;
}

function fabricLines(layout: Layout): string[] {
  const ports = ["gateway", ...layout.nodes.map((node) => `node${node.index}`)];
  return [
    "link set lo up",
    "link add segment type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "link set segment up",
    ...ports.flatMap((port) => [`link set ${port} master segment`, `link set ${port} up`]),
  ];
}

function outsideLines(layout: Layout): string[] {
  const addresses = [...Object.values(OUTSIDE), ...CROWD];
  const lines = [
    "link set lo up",
    "link set eth0 up",
    `addr add ${GATEWAY.ipv4}/24 dev eth0`,
    `addr add ${GATEWAY.ipv6}/64 dev eth0 nodad`,
    ...addresses.flatMap(({ ipv4, ipv6 }) => [`addr add ${ipv4}/32 dev lo`, `addr add ${ipv6}/128 dev lo nodad`]),
  ];
  if (layout.masquerade) return lines;
  const routes = layout.nodes.flatMap((node) => podRoutes(node));
  return [...lines, ...routes];
}

function podRoutes(node: NodeLayout): string[] {
  return [
    `route add ${node.podRange.ipv4} via ${node.address.ipv4}`,
    `route add ${node.podRange.ipv6} via ${node.address.ipv6}`,
  ];
}

function nodeLines(layout: Layout, node: NodeLayout): string[] {
  return [
    "link set lo up",
    "link set eth0 up",
    `addr add ${node.address.ipv4}/24 dev eth0`,
    `addr add ${node.address.ipv6}/64 dev eth0 nodad`,
    `route add default via ${GATEWAY.ipv4}`,
    `route add ::/0 via ${GATEWAY.ipv6}`,
    // An address of the range that no pod has is answered here, it does not wander outside.
    `route add unreachable ${node.podRange.ipv4}`,
    `route add unreachable ${node.podRange.ipv6} metric 4096`,
    ...layout.nodes.filter((other) => other !== node).flatMap((other) => podRoutes(other)),
    ...layout.pods.filter((pod) => pod.node === node.index).flatMap((pod) => linkLines(node, pod)),
  ];
}

function linkLines(node: NodeLayout, pod: PodLayout): string[] {
  const { gateway } = node.podRange;
  return [
    `link set ${pod.link} up`,
    `addr add ${gateway.ipv4}/32 dev ${pod.link}`,
    `addr add ${gateway.ipv6}/128 dev ${pod.link} nodad`,
    `route add ${pod.address.ipv4} dev ${pod.link}`,
    `route add ${pod.address.ipv6} dev ${pod.link}`,
  ];
}

function podLines(layout: Layout, pod: PodLayout): string[] {
  const { gateway } = nodeOf(layout, pod).podRange;
  return [
    "link set lo up",
    "link set eth0 up",
    `addr add ${pod.address.ipv4}/32 dev eth0`,
    `addr add ${pod.address.ipv6}/128 dev eth0 nodad`,
    `route add ${gateway.ipv4} dev eth0 scope link`,
    `route add default via ${gateway.ipv4}`,
    `route add ${gateway.ipv6} dev eth0`,
    `route add ::/0 via ${gateway.ipv6}`,
  ];
}
