import { GATEWAY, nodeAddress } from "../../src/lab/addresses.ts";
import { createLab, type Lab } from "../../src/lab/lab.ts";
import { fabricNetns } from "../../src/lab/names.ts";
import { loadRules } from "../../src/lab/network.ts";
import { inNetworkOnly, must } from "../../src/lab/process.ts";
import { masqueradeRules } from "../../src/lab/services.ts";
import { netnsNames } from "../../src/lab/state.ts";
import { removeLab } from "../../src/lab/teardown.ts";

/** Addresses of all pods. The controllers give out a /24 and a /64 a node, and can only cut 16 bits from a range. */
export const PODS = { ipv4: "10.244.0.0/16", ipv6: "fd00:244::/48" } as const;
/** Addresses of Services. */
export const SERVICE_RANGE = { ipv4: "10.96.0.0/16", ipv6: "fd00:96::/112" } as const;
/** The one node. Its pods have the first ranges that the controllers give out; the lab's own node is its neighbour. */
export const NODE = {
  name: "node1",
  address: nodeAddress(2),
  pods: { ipv4: "10.244.0.0/24", ipv6: "fd00:244::/64" },
} as const;

/** The network namespace of the node of one cluster. No lab's: labs begin with `sp-`. */
export function nodeNetns(cluster: string): string {
  return `spc-${cluster}-node`;
}

/** Makes the node's network namespace, without a link yet. */
export async function makeNodeNetns(cluster: string): Promise<void> {
  const node = nodeNetns(cluster);
  await must(["ip", "netns", "add", node]);
  const script = SETTINGS.map((line) => line.replace(/^(.*)=(.*)$/, "echo $2 >/proc/sys/$1")).join("\n");
  await must(inNetworkOnly(node, ["sh", "-e", "-s"]), { input: `${script}\n` });
  await loadRules(node, masqueradeRules());
}

const SETTINGS = [
  ...["net/ipv6/conf/all/disable_ipv6=0", "net/ipv6/conf/default/disable_ipv6=0"],
  ...["net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/default/accept_ra=0"],
  ...["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"],
];

/**
 *   pods ── node  eth0 ── cluster  fabric of a lab (bridge)  gateway ── eth0  outside of that lab
 *
 * The outside is a lab's: its name servers, web sites and logs, and no way to the machine's own network namespace.
 */
export async function joinOutside(cluster: string): Promise<Lab> {
  const lab = await createLab({ name: cluster, nodes: 1, pods: [] });
  const node = nodeNetns(cluster);
  const fabric = fabricNetns(cluster);
  await batch(null, [`link add eth0 netns ${node} type veth peer name cluster netns ${fabric}`]);
  await batch(fabric, ["link set cluster master segment", "link set cluster up"]);
  await batch(node, [
    "link set eth0 up",
    `addr add ${NODE.address.ipv4}/24 dev eth0`,
    `addr add ${NODE.address.ipv6}/64 dev eth0 nodad`,
    ...[`route add default via ${GATEWAY.ipv4}`, `route add ::/0 via ${GATEWAY.ipv6}`],
    // A pod address that nobody has is answered here, it does not wander outside. Service addresses must have a route: what the node
    // itself sends is routed before it is translated.
    `route add unreachable ${PODS.ipv4} metric 4096`,
    `route add unreachable ${PODS.ipv6} metric 4096`,
  ]);
  return lab;
}

async function batch(netns: string | null, lines: readonly string[]): Promise<void> {
  await must(["ip", ...(netns === null ? [] : ["-n", netns]), "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** Deletes the namespaces; their interfaces go with them. */
export async function removeNetwork(cluster: string): Promise<void> {
  const node = nodeNetns(cluster);
  if ((await netnsNames()).includes(node)) await must(["ip", "netns", "delete", node]);
  await removeLab(cluster);
}
