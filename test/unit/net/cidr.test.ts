import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../src/net/address.ts";
import { type Cidr, cidrContains, cidrCovers, cidrOf, formatCidr, parseCidr, sameCidr } from "../../../src/net/cidr.ts";

function cidr(text: string): Cidr {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
}

test.each(["0.0.0.0/0", "10.0.0.0/8", "203.0.113.10/32", "::/0", "2001:db8::/32", "::1/128", "fd00:244::/32"])(
  "%s is kept as written",
  (text) => {
    expect(formatCidr(cidr(text))).toBe(text);
  },
);

test.each([
  ["10.0.0.1/8", "`10.0.0.1/8` has bits set after the prefix: write `10.0.0.0/8`"],
  ["2001:db8::1/32", "`2001:db8::1/32` has bits set after the prefix: write `2001:db8::/32`"],
  ["192.0.2.1", "`192.0.2.1` has no prefix length: write `192.0.2.1/32`"],
  ["2001:db8::1", "`2001:db8::1` has no prefix length: write `2001:db8::1/128`"],
  ["10.0.0.0/33", "`10.0.0.0/33` has the prefix length `33`: use 0 to 32"],
  ["::/129", "`::/129` has the prefix length `129`: use 0 to 128"],
  ["10.0.0.0/08", "`10.0.0.0/08` has the prefix length `08`: use 0 to 32"],
  [
    "::ffff:10.0.0.0/104",
    "`::ffff:10.0.0.0/104` is an IPv4 address in IPv6 form: write `10.0.0.0` with its IPv4 prefix",
  ],
  ["example.com/24", "`example.com/24` is no address range: write it as `203.0.113.0/24`"],
  ["", "`` is no address range: write it as `203.0.113.0/24`"],
])("%s: %s", (text, problem) => {
  expect(parseCidr(text)).toMatchObject({ ok: false, problem });
});

describe("what a range holds", () => {
  test.each([
    ["10.0.0.0/8", "10.255.255.255", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["0.0.0.0/0", "203.0.113.1", true],
    ["0.0.0.0/0", "::1", false],
    ["::/0", "2001:db8::1", true],
    ["::/0", "203.0.113.1", false],
    ["::/80", "203.0.113.1", false],
    ["2001:db8::/33", "2001:db8:7fff::1", true],
    ["2001:db8::/33", "2001:db8:8000::1", false],
    ["203.0.113.10/32", "203.0.113.11", false],
  ])("%s holds %s: %s", (range, address, expected) => {
    expect(cidrContains(cidr(range), parseAddress(address)!)).toBe(expected);
  });

  test.each([
    ["10.0.0.0/8", "10.1.0.0/16", true],
    ["10.1.0.0/16", "10.0.0.0/8", false],
    ["10.0.0.0/8", "10.0.0.0/8", true],
    ["::/0", "0.0.0.0/0", false],
    ["::/0", "2001:db8::/32", true],
  ])("%s covers %s: %s", (outer, inner, expected) => {
    expect(cidrCovers(cidr(outer), cidr(inner))).toBe(expected);
  });
});

test("a range made around an address holds it, and reads back", () => {
  const word = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(word, word, word, word, fc.integer({ min: 0, max: 128 }), (w0, w1, w2, w3, bits) => {
      const made = cidrOf({ w0, w1, w2, w3 }, bits);
      expect(cidrContains(made, { w0, w1, w2, w3 })).toBe(true);
      expect(sameCidr(cidr(formatCidr(made)), made)).toBe(true);
    }),
  );
});
