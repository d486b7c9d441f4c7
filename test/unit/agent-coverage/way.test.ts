import { describe, expect, test } from "vitest";
import { heldAtStart, outwardInterfaces, type Ways, whyBypassed } from "../../../src/agent/coverage/way.ts";
import type { Link } from "../../../src/kernel/routing.ts";
import { type Address, formatAddress, parseAddress } from "../../../src/net/address.ts";
import { parseCidr } from "../../../src/net/cidr.ts";

const address = (text: string): Address => parseAddress(text)!;

/** `name kind controller?`, counted from 1. */
const LINKS = ["eth0 ", "caliabc veth", "cni0 bridge", "veth7 veth 3", "br0 bridge", "eth1  5", "vxlan0 vxlan"].concat([
  "bond0.7 vlan",
  "mac0 macvlan",
  "antrea-gw0 openvswitch",
  "cilium_host veth",
  "lxc9 netkit",
  "br1 bridge",
  "vx veth 13",
]);
const links: readonly Link[] = LINKS.map((text, at) => {
  const [name = "", kind = "", controller = "0"] = text.split(" ");
  return { index: at + 1, name, kind, controller: Number(controller) };
});
const indexOf = (name: string): number => links.find((link) => link.name === name)?.index ?? 0;

/** To the pod: the interface, and the gateway if there is one. `local` and `none` as they are. */
function ways(to: string): Ways {
  const [name = "", gateway] = to.split(" via ");
  return {
    routeTo: (asked) => {
      if (formatAddress(asked) === "10.0.9.9") return { kind: "local", link: 1, gateway: null };
      if (name === "local" || name === "none") return { kind: name, link: 0, gateway: null };
      return { kind: "unicast", link: indexOf(name), gateway: gateway === undefined ? null : address(gateway) };
    },
    link: (index) => links[index - 1] ?? null,
    ports: (bridge) => links.filter(({ controller }) => controller === bridge),
  };
}

const OUTWARD = new Set(["eth0"]);
const why = (to: string): string | null => whyBypassed(address("10.0.1.7"), ways(to), OUTWARD);

describe("the way to a pod", () => {
  test.each([
    ["a link of its own", "caliabc"],
    ["a bridge of pods", "cni0"],
    ["the switch of Open vSwitch", "antrea-gw0"],
    ["netkit", "lxc9"],
    ["the node's own address as gateway (Cilium)", "cilium_host via 10.0.9.9"],
  ])("%s crosses the rules", (_, to) => {
    expect(why(to)).toBeNull();
  });

  test.each([
    ["the default route's interface (macvlan, ipvlan, SR-IOV)", "eth0", /by `eth0`, as it reaches other machines/],
    ["other hardware", "eth1", /by `eth1`, which is no link to a pod \(hardware\)/],
    ["a VLAN", "bond0.7", /\(vlan\)/],
    ["a host's own macvlan interface", "mac0", /\(macvlan\)/],
    ["a tunnel to other nodes", "vxlan0", /\(vxlan\)/],
    ["another machine as gateway", "cni0 via 10.0.8.8", /gateway `10\.0\.8\.8`, which is another machine/],
    ["a bridge with the network's port in it", "br0", /`br0`, a bridge whose port `eth1` leads to other machines/],
    ["nothing", "none", /no route of the node leads to `10\.0\.1\.7`/],
    ["an interface that has just gone", "gone", /no route of the node leads/],
    ["the node itself", "local", /an address of the node itself/],
  ])("%s does not", (_, to, message) => {
    expect(why(to)).toMatch(message);
  });

  test("a port that leads outward by what is known of the node, whatever its kind", () => {
    expect(whyBypassed(address("10.0.1.7"), ways("br1"), new Set(["vx"]))).toMatch(/port `vx`/);
    expect(whyBypassed(address("10.0.1.7"), ways("br1"), OUTWARD)).toBeNull();
  });
});

test.each([
  ["caliabc", [], [], false],
  ["caliabc", ["10.0.1.0/24"], [], true],
  ["caliabc", ["10.0.2.0/24"], ["cali*"], true],
  ["caliabc", [], ["eni*", "caliabc"], true],
  ["caliabc", [], ["cali", "caliabcd", "eni*"], false],
  ["none", [], ["cali*"], false],
])("a pod by %s, ranges %j, interfaces %j: held from its first packet %s", (to, ranges, podInterfaces, held) => {
  const podCIDRs = ranges.map((text) => {
    const parsed = parseCidr(text);
    if (!parsed.ok) throw new Error(parsed.problem);
    return parsed.cidr;
  });
  expect(heldAtStart(address("10.0.1.7"), ways(to), { podCIDRs, podInterfaces })).toBe(held);
});

test("outward are the default routes' interfaces and those that bear the node's known addresses", () => {
  const ipv4 =
    "head\nens3\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\nens4\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
  const zero = "0".repeat(32);
  const ipv6 = `${zero} 00 ${zero} 00 ${zero} 00000400 1 0 3     ens5\n${zero} 00 ${zero} 00 ${zero} ffffffff 1 0 200200       lo\n${zero} 40 ${zero} 00 ${zero} 1 1 0 1   ens6\n`;
  const interfaces = {
    ens7: [{ address: "192.0.2.9" }],
    cni0: [{ address: "10.0.1.1" }],
    lo: [{ address: "127.0.0.1" }],
  };
  const known = ["192.0.2.9", "127.0.0.1"].map(address);
  expect([...outwardInterfaces({ ipv4, ipv6 }, interfaces, known)].sort()).toEqual(["ens3", "ens5", "ens7"]);
});
