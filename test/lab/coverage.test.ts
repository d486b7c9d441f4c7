import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { networkInterfaces } from "node:os";
import koffi from "koffi";
import { afterAll, beforeAll, expect, test } from "vitest";
import { outwardInterfaces, whyBypassed } from "../../src/agent/coverage/way.ts";
import { readRoutes } from "../../src/agent/pod-interfaces.ts";
import { Routing } from "../../src/kernel/routing.ts";
import { parseAddress } from "../../src/net/address.ts";

const SPACE = `spw-${process.pid}`;
const CLONE_NEWNET = 0x40000000;
const setns = koffi.load(null).func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;

/** A node's interfaces, of every sort that a pod may be behind, and its routes to pods. */
const NODE = `
link set lo up
link add lan0 type veth peer name lanx
link add pod1 type veth peer name podx
link add cni0 type bridge
link add pod2 type veth peer name pody
link set pod2 master cni0
link add br0 type bridge
link add lan1 type veth peer name lany
link add port7 link lan1 type macvlan mode bridge
link set port7 master br0
link add mac0 link lan0 type macvlan mode bridge
link add vx0 type vxlan id 9 dstport 4789 local 192.0.2.11 dev lan0
addr add 192.0.2.11/24 dev lan0
addr add 2001:db8:2::11/64 dev lan0 nodad
addr add 10.244.1.65/26 dev cni0
addr add 10.244.2.1/24 dev br0
addr add 10.244.3.1/32 dev mac0
link set lan0 up
link set lanx up
link set pod1 up
link set podx up
link set cni0 up
link set pod2 up
link set pody up
link set br0 up
link set lan1 up
link set lany up
link set port7 up
link set mac0 up
link set vx0 up
route add default via 192.0.2.1
route add ::/0 via 2001:db8:2::1
route add 10.244.1.10/32 dev pod1
route add fd00:244:1::a/128 dev pod1
route add 10.244.3.7/32 dev mac0
route add 10.244.4.0/24 dev vx0
route add unreachable 10.244.0.0/16 metric 4096
route add unreachable fd00:244::/32 metric 4096
route add blackhole 10.245.0.0/16
`;

let routing: Routing;
let home: number;

beforeAll(() => {
  execFileSync("ip", ["netns", "add", SPACE]);
  execFileSync("ip", ["-n", SPACE, "-batch", "-"], { input: NODE.trim(), timeout: 20_000 });
  home = openSync("/proc/thread-self/ns/net", "r");
  enter(`/run/netns/${SPACE}`);
  routing = new Routing();
});

afterAll(() => {
  routing?.close();
  if (setns(home, CLONE_NEWNET) !== 0) throw new Error("cannot go back to the network namespace");
  closeSync(home);
  execFileSync("ip", ["netns", "delete", SPACE]);
});

test.each([
  ["10.244.1.10", null],
  ["fd00:244:1::a", null],
  ["10.244.1.70", null],
  ["192.0.2.77", /by `lan0`, as it reaches other machines/],
  ["2001:db8:2::77", /by `lan0`, as it reaches other machines/],
  ["198.51.100.9", /by `lan0`, as it reaches other machines/],
  ["192.0.2.11", /an address of the node itself/],
  ["10.244.2.9", /`br0`, a bridge whose port `port7` leads to other machines/],
  ["10.244.3.7", /`mac0`, which is no link to a pod \(macvlan\)/],
  ["10.244.4.9", /\(vxlan\)/],
  ["10.244.9.9", /no route/],
  ["fd00:244:9::9", /no route/],
  ["10.245.1.1", /no route/],
])("the way to %s as the kernel tells it", (text, expected) => {
  const address = parseAddress(text);
  if (address === null) throw new Error("no address");
  const outward = outwardInterfaces(readRoutes(), networkInterfaces(), []);
  expect([...outward]).toEqual(["lan0"]);
  const why = whyBypassed(address, routing, outward);
  if (expected === null) expect(why).toBeNull();
  else expect(why).toMatch(expected);
});

test("an interface that is gone is none", () => {
  expect(routing.link(9_999)).toBeNull();
  expect(routing.ports(9_999)).toEqual([]);
});

/** Takes this thread to a namespace. */
function enter(path: string): void {
  const descriptor = openSync(path, "r");
  if (setns(descriptor, CLONE_NEWNET) !== 0) throw new Error("cannot change the network namespace");
  closeSync(descriptor);
}
