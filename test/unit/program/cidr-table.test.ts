import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/net/address.ts";
import { cidrContains, cidrOf } from "../../../src/net/cidr.ts";
import { buildCidrTable, type CidrSet, findPrefix, holdsAddress, PREFIX } from "../../../src/program/cidr-table.ts";
import { PostingsBuilder } from "../../../src/program/postings.ts";
import { address, cidr } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";

function open(sets: readonly CidrSet[]) {
  const builder = new PostingsBuilder();
  const table = buildCidrTable(sets, builder);
  const postings = builder.share();
  const list = (at: number) => [...postings.subarray(at + 1, at + 1 + postings[at]!)];
  return ({ w0, w1, w2, w3 }: Address): number[] => {
    const members = new Set<number>();
    const excepts = new Set<number>();
    for (let row = findPrefix(table, w0, w1, w2, w3); row >= 0; ) {
      for (const set of list(table.prefixes[row * PREFIX.stride + PREFIX.members]!)) members.add(set);
      for (const set of list(table.prefixes[row * PREFIX.stride + PREFIX.excepts]!)) excepts.add(set);
      row = table.prefixes[row * PREFIX.stride + PREFIX.parent]! | 0;
    }
    return [...members].filter((set) => !excepts.has(set)).sort((a, b) => a - b);
  };
}

function set(cidrs: readonly string[], except: readonly string[] = []): CidrSet {
  return { cidrs: cidrs.map(cidr), except: except.map(cidr) };
}

describe("the table of ranges", () => {
  const find = open([
    set(["203.0.113.0/24"], ["203.0.113.128/25"]),
    set(["0.0.0.0/0"]),
    set(["::/0"]),
    set(["203.0.113.7/32", "2001:db8::/32"]),
    set(["203.0.113.192/26", "203.0.113.0/24"], ["203.0.113.128/25"]),
    set(["255.255.255.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]),
  ]);

  test.each<[string, number[]]>([
    ["203.0.113.7", [0, 1, 3, 4]],
    ["203.0.113.8", [0, 1, 4]],
    ["203.0.113.127", [0, 1, 4]],
    ["203.0.113.128", [1]],
    ["203.0.113.193", [1]],
    ["203.0.112.255", [1]],
    ["203.0.114.0", [1]],
    ["0.0.0.0", [1]],
    ["255.255.255.255", [1, 5]],
    ["2001:db8::1", [2, 3]],
    ["2001:db9::", [2]],
    ["::", [2]],
    ["::fffe:ffff:ffff", [2]],
    ["::1:0:0:0", [2]],
    ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", [2, 5]],
  ])("%s", (text, sets) => {
    expect(find(address(text))).toEqual(sets);
  });

  test("an empty table holds nothing", () => {
    const table = buildCidrTable([], new PostingsBuilder());
    expect(holdsAddress(table, address("203.0.113.1"))).toBe(false);
    expect(holdsAddress(table, address("2001:db8::1"))).toBe(false);
  });

  const word = fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffff, 0xcb007107, 0xffffffff);
  const anywhere = fc.record({ w0: word, w1: word, w2: word, w3: word });
  const ipv4 = word.map((w3) => ({ w0: 0, w1: 0, w2: 0xffff, w3 }));
  const range = fc.oneof(
    fc.tuple(anywhere, fc.nat({ max: 128 })).map(([base, bits]) => cidrOf(base, bits)),
    fc.tuple(ipv4, fc.integer({ min: 96, max: 128 })).map(([base, bits]) => cidrOf(base, bits)),
  );
  const sets = fc.array(
    fc.record({ cidrs: fc.array(range, { maxLength: 5 }), except: fc.array(range, { maxLength: 3 }) }),
    { maxLength: 6 },
  );

  test("agrees with the plain meaning of ranges, however they overlap", () => {
    fc.assert(
      fc.property(sets, fc.array(fc.oneof(anywhere, ipv4), { minLength: 5 }), (of, addresses) => {
        const lookup = open(of);
        const edges = of.flatMap(({ cidrs, except }) => [...cidrs, ...except].map(({ base }) => base));
        for (const wanted of [...addresses, ...edges]) {
          const plain = of.flatMap(({ cidrs, except }, id) => {
            const inside = cidrs.some((one) => cidrContains(one, wanted));
            return inside && !except.some((one) => cidrContains(one, wanted)) ? [id] : [];
          });
          expect(lookup(wanted)).toEqual(plain);
        }
      }),
      { numRuns: runs(500) },
    );
  });
});
