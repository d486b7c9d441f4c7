import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipv4 } from "../../../src/net/address.ts";
import { type Cidr, cidrContains, cidrOf, formatCidr, parseCidr } from "../../../src/net/cidr.ts";
import { cidrUnion } from "../../../src/net/cidr-union.ts";

function cidr(text: string): Cidr {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
}

describe("the union of ranges", () => {
  const rows: readonly [ranges: string[], union: string[]][] = [
    [[], []],
    [["10.244.1.0/24", "10.244.0.0/24"], ["10.244.0.0/23"]],
    [
      ["10.244.1.0/24", "10.244.2.0/24"],
      ["10.244.1.0/24", "10.244.2.0/24"],
    ],
    [["10.244.3.0/24", "10.244.0.0/24", "10.244.2.0/24", "10.244.1.0/24"], ["10.244.0.0/22"]],
    [["10.0.0.0/8", "10.244.0.0/24"], ["10.0.0.0/8"]],
    [["10.1.0.0/24", "10.1.0.0/24"], ["10.1.0.0/24"]],
    [
      ["fd00::/65", "fd00:0:0:0:8000::/65", "10.0.0.0/24"],
      ["10.0.0.0/24", "fd00::/64"],
    ],
    [["0.0.0.0/1", "128.0.0.0/1"], ["0.0.0.0/0"]],
    [
      ["::/1", "8000::/1", "0.0.0.0/0"],
      ["0.0.0.0/0", "::/0"],
    ],
  ];
  test.each(rows)("of %j is %j", (ranges, union) => {
    expect(cidrUnion(ranges.map(cidr)).map(formatCidr)).toEqual(union);
  });

  test("holds what the ranges hold, and nothing else", () => {
    const range = fc
      .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
      .map(([low, bits]) => cidrOf(ipv4(0x0a000000 + low), bits + 96));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), (ranges) => {
        const union = cidrUnion(ranges);
        for (let low = 0; low < 256; low++) {
          const address = ipv4(0x0a000000 + low);
          const holds = (list: readonly Cidr[]) => list.filter((one) => cidrContains(one, address)).length;
          expect(holds(union)).toBe(holds(ranges) > 0 ? 1 : 0);
        }
      }),
    );
  });
});
