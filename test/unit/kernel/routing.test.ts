import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readLink, readRoute } from "../../../src/kernel/routing.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));

/** As a kernel answered `10.244.0.3 dev 4`, and `198.51.100.1 via 192.0.2.1 dev 2`. */
const DIRECT = bytes("02200000 fe00fd01 00000000 08000100 0af40003 08000400 04000000");
const GATEWAY = bytes("02200000 fe00fd01 00000000 08000100 c6336401 08000400 02000000 08000500 c0000201");
const LOCAL = bytes("02200000 ff00fe02 00000000 08000400 01000000");
const UNREACHABLE = bytes("02200000 fe00fd07 00000000");

const read = (data: Uint8Array) => readRoute(data, 0, data.length);

test("routes as the kernel tells them", () => {
  expect(read(DIRECT)).toEqual({ kind: "unicast", link: 4, gateway: null });
  expect(read(GATEWAY)).toMatchObject({ kind: "unicast", link: 2, gateway: { w2: 0xffff, w3: 0xc0000201 } });
  expect(read(LOCAL)).toMatchObject({ kind: "local" });
  expect(read(UNREACHABLE)).toEqual({ kind: "none", link: 0, gateway: null });
});

describe("a link", () => {
  const name = "0a000300 766574683700 0000";
  const info = "10001280 09000100 7665746800 000000";
  const more = { index: 6, name: "veth7", kind: "veth", controller: 5 };
  const link = (attributes: string) => {
    const all = bytes(`00000100 06000000 00000000 00000000 ${name} 08000a00 05000000 ${info} ${attributes}`);
    return readLink(all, 0, all.length);
  };

  test("its kind and its bridge", () => {
    expect(link("")).toEqual({ ...more, peer: 0, received: 0 });
  });

  test("its other end, where that is in this namespace, and what it received", () => {
    const statistics = "0c001700 0700000001000000";
    expect(link(`08000500 09000000 ${statistics}`)).toEqual({ ...more, peer: 9, received: 2 ** 32 + 7 });
    expect(link("08000500 09000000 08002500 00000000")).toMatchObject({ peer: 0 });
  });
});

test("nothing that comes makes it throw or read past the end", () => {
  const any = fc.uint8Array({ maxLength: 80 });
  fc.assert(
    fc.property(any, fc.nat(80), (data, end) => {
      const route = readRoute(data, 0, Math.min(end, data.length));
      expect(["unicast", "local", "none"]).toContain(route.kind);
      readLink(data, 0, Math.min(end, data.length));
    }),
  );
  expect(read(DIRECT.subarray(0, 11))).toMatchObject({ kind: "none" });
});
