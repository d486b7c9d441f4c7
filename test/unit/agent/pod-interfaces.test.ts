import fc from "fast-check";
import { expect, test } from "vitest";
import { podInterfaces } from "../../../src/agent/pod-interfaces.ts";
import { type Cidr, parseCidr } from "../../../src/net/cidr.ts";

const ROUTE = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT                                                       
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0                                                                               
*	0001F40A	00000000	0201	0	0	0	00FFFFFF	0	0	0                                                                               
pod3	0A01F40A	00000000	0005	0	0	0	FFFFFFFF	0	0	0                                                                               
pod4	0B01F40A	00000000	0005	0	0	0	FFFFFFFF	0	0	0                                                                               
pod9	0C01F40A	00000000	0004	0	0	0	FFFFFFFF	0	0	0                                                                               
eth0	0002F40A	0C0200C0	0003	0	0	0	00FFFFFF	0	0	0                                                                               
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0                                                                               
`;

const ROUTE6 = `20010db8000200000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fd000244000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00001000 00000001 00000000 00200200       lo
fd00024400010000000000000000000a 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 00000001     pod3
fd00024400010000000000000000000d 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 00000001     pod6
fd000244000100000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001     pod3
fd000244000200000000000000000000 40 00000000000000000000000000000000 00 20010db8000200000000000000000012 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000200000000000000000001 00000400 00000001 00000000 00000003     eth0
`;

const range = (text: string): Cidr => {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.cidr;
};
const PODS = ["10.244.1.0/24", "fd00:244:1::/64"].map(range);

test("names the interfaces of on-link routes into the pod ranges", () => {
  expect(podInterfaces(PODS, { ipv4: ROUTE, ipv6: ROUTE6 })).toEqual(["pod3", "pod4", "pod6"]);
});

test("a bridge that carries the whole range is one; a wider route is not", () => {
  const bridge = "head\ncni0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
  expect(podInterfaces(PODS, { ipv4: bridge, ipv6: "" })).toEqual(["cni0"]);
  expect(podInterfaces([range("10.244.1.0/25")], { ipv4: bridge, ipv6: "" })).toEqual([]);
});

test("gateways, rejects, routes that are down and other ranges are not", () => {
  expect(podInterfaces([range("10.244.2.0/24"), range("192.0.2.0/25")], { ipv4: ROUTE, ipv6: ROUTE6 })).toEqual([]);
});

test("whatever the text is, it never throws", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (ipv4, ipv6) => {
      podInterfaces(PODS, { ipv4: `head\n${ipv4}`, ipv6 });
      podInterfaces(PODS, { ipv4: ROUTE.slice(0, ipv4.length * 20), ipv6: ROUTE6.slice(ipv6.length) });
    }),
  );
});
