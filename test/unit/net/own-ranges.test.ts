import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/net/address.ts";
import { type Cidr, cidrContains, cidrOf, formatCidr, parseCidr } from "../../../src/net/cidr.ts";
import { PRIVATE_RANGES, sortByOwner } from "../../../src/net/own-ranges.ts";

const read = (text: string): Cidr => {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
};
const sorted = (ranges: readonly string[], own: readonly Cidr[] = PRIVATE_RANGES) => {
  const { own: kept, others } = sortByOwner(ranges.map(read), own);
  return [kept.map(formatCidr), others.map(formatCidr)];
};

describe("ranges that are nobody's on the Internet", () => {
  test.each<readonly [string, boolean]>([
    ["10.244.1.0/24", true],
    ["172.31.0.0/16", true],
    ["172.32.0.0/16", false],
    ["192.168.7.0/24", true],
    ["100.64.0.0/16", true],
    ["100.128.0.0/16", false],
    ["fd00:244:1::/64", true],
    ["2001:db8:1::/64", false],
    ["8.8.0.0/16", false],
    ["198.51.100.0/24", false],
    // The metadata service of a cloud, and the node's own loopback.
    ["169.254.0.0/16", false],
    ["127.0.0.0/8", false],
    ["fe80::/64", false],
    ["::ffff:0:0/96", false],
  ])("%s: %s", (text, own) => {
    if (!parseCidr(text).ok) return expect(own).toBe(false);
    expect(sorted([text])).toEqual(own ? [[text], []] : [[], [text]]);
  });

  test("of a range that is wider only the part that lies in them is kept", () => {
    expect(sorted(["10.0.0.0/7"])).toEqual([["10.0.0.0/8"], ["10.0.0.0/7"]]);
    expect(sorted(["0.0.0.0/0"])[0]).toEqual(["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"]);
    expect(sorted(["::/0"])).toEqual([["fc00::/7"], ["::/0"]]);
  });

  test("a range that two listed ones hold together is whole", () => {
    const halves = ["2001:db8::/33", "2001:db8:8000::/33"].map(read);
    expect(sorted(["2001:db8::/32"], halves)).toEqual([["2001:db8::/32"], []]);
  });

  test("an address is kept if it lies in a range and in one that is ours, and in no other case", () => {
    const address = fc.nat({ max: 255 }).map((low): Address => ({ w0: 0, w1: 0, w2: 0xffff, w3: (203 << 24) + low }));
    const cidr = fc.tuple(address, fc.integer({ min: 0, max: 8 })).map(([base, bits]) => cidrOf(base, 120 + bits));
    const ranges = fc.array(cidr, { maxLength: 5 });
    fc.assert(
      fc.property(ranges, ranges, fc.array(address, { minLength: 1 }), (some, own, addresses) => {
        const { own: kept, others } = sortByOwner(some, own);
        const within = (list: readonly Cidr[], one: Address) => list.some((range) => cidrContains(range, one));
        for (const one of addresses) {
          expect(within(kept, one)).toBe(within(some, one) && within(own, one));
          if (within(some, one) && !within(own, one)) expect(within(others, one)).toBe(true);
        }
      }),
    );
  });
});
