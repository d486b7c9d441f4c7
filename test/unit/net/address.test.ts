import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Address,
  addressFromBytes,
  addressToBytes,
  formatAddress,
  ipv4,
  isIPv4,
  parseAddress,
  sameAddress,
} from "../../../src/net/address.ts";

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["::", "::"],
  ["::1", "::1"],
  ["2001:DB8::A", "2001:db8::a"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["::ffff:c000:207", "192.0.2.7"],
  ["64:ff9b::192.0.2.7", "64:ff9b::c000:207"],
])("%s is %s", (text, canonical) => {
  expect(formatAddress(parseAddress(text)!)).toBe(canonical);
});

test.each([
  "",
  "1",
  "1.2.3",
  "1.2.3.4.5",
  "01.2.3.4",
  "256.1.1.1",
  "0x7f.0.0.1",
  "127.1",
  "1.2.3.4 ",
  "1.2.3.-4",
  ":",
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "::12345",
  "fe80::1%eth0",
  "1.2.3.4::",
  "::1.2.3",
  "[::1]",
  "g::",
  "::ffff:1.2.3.4:5",
])("`%s` is no address", (text) => {
  expect(parseAddress(text)).toBeNull();
});

const word = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.integer({ min: 0, max: 0xffffffff }));
const anyAddress: fc.Arbitrary<Address> = fc.oneof(
  word.map(ipv4),
  fc.record({ w0: word, w1: word, w2: word, w3: word }),
);

test("text and bytes give the address back", () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      expect(sameAddress(parseAddress(formatAddress(address))!, address)).toBe(true);
      const bytes = addressToBytes(address);
      expect(bytes.length).toBe(isIPv4(address) ? 4 : 16);
      expect(sameAddress(addressFromBytes(bytes, 0, bytes.length as 4 | 16), address)).toBe(true);
    }),
  );
});

test("any text is read or refused", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."0123456789abf:./%") })), (text) => {
      const address = parseAddress(text);
      if (address !== null) expect(sameAddress(parseAddress(formatAddress(address))!, address)).toBe(true);
    }),
  );
});
