import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Address, ipv4 } from "../../../src/net/address.ts";
import { buildTcp, buildUdp, patchTcpPayload, replaceEndpoint, replaceUdpPayload } from "../../../src/packet/build.ts";
import { finishChecksum, sumBytes } from "../../../src/packet/checksum.ts";
import { destinationAddress, newPacket, type Packet, parsePacket, sourceAddress } from "../../../src/packet/ip.ts";
import { looksLikeQuicLongHeader } from "../../../src/packet/quic.ts";
import {
  newTcpSegment,
  parseTcp,
  readTcpOptions,
  seqAdd,
  seqDiff,
  seqLess,
  TCP_FLAG,
  tcpChecksumOk,
} from "../../../src/packet/tcp.ts";
import { newUdpDatagram, parseUdp, udpChecksumOk } from "../../../src/packet/udp.ts";
import { ascii, concat } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { everyPrefix, guarded } from "./guarded.ts";

const POD4 = ipv4(0x0a000002);
const OUT4 = ipv4(0xc0000207);
const POD6: Address = { w0: 0x20010db8, w1: 1, w2: 0, w3: 2 };
const OUT6: Address = { w0: 0x20010db8, w1: 2, w2: 0, w3: 7 };

function parse(buf: Uint8Array, start = 0, end = buf.length): Omit<Packet, "bytes"> {
  const packet = newPacket();
  parsePacket(buf, start, end - start, packet);
  const { bytes: _, ...rest } = packet;
  return rest;
}

function tcp(family: 4 | 6, payload = ascii("hello!!"), options = new Uint8Array(0)): Uint8Array {
  return buildTcp({
    source: family === 4 ? POD4 : POD6,
    destination: family === 4 ? OUT4 : OUT6,
    sourcePort: 40000,
    destinationPort: 443,
    seq: 0xfffffff0,
    ack: 7,
    flags: TCP_FLAG.psh | TCP_FLAG.ack,
    window: 1024,
    options,
    payload,
  });
}

function udp(family: 4 | 6, payload = ascii("query")): Uint8Array {
  const source = family === 4 ? POD4 : POD6;
  const destination = family === 4 ? OUT4 : OUT6;
  return buildUdp({ source, destination, sourcePort: 5353, destinationPort: 53, payload });
}

/** The IPv6 packet with extension headers put before its payload: `[type, bytes without the next-header field]`. */
function extended(packet: Uint8Array, headers: readonly (readonly [number, readonly number[]])[]): Uint8Array {
  const types = [...headers.map(([type]) => type), packet[6]!];
  const encoded = headers.map(([, rest], index) => concat([types[index + 1]!], rest));
  const changed = concat(packet.subarray(0, 40), ...encoded, packet.subarray(40));
  changed[6] = types[0]!;
  const length = changed.length - 40;
  changed[4] = length >>> 8;
  changed[5] = length & 0xff;
  return changed;
}

const PAD8 = [0, 1, 4, 0, 0, 0, 0];

describe("IP headers", () => {
  it.each([4, 6] as const)("reads addresses, ports and ends of IPv%s", (family) => {
    const bytes = concat(new Uint8Array(3), tcp(family), new Uint8Array(9));
    const packet = newPacket();
    expect(parsePacket(bytes, 3, bytes.length - 3, packet)).toBe(true);
    expect(sourceAddress(packet)).toEqual(family === 4 ? POD4 : POD6);
    expect(destinationAddress(packet)).toEqual(family === 4 ? OUT4 : OUT6);
    expect([packet.sourcePort, packet.destinationPort, packet.protocol, packet.ttl]).toEqual([40000, 443, 6, 64]);
    expect(packet.end).toBe(bytes.length - 9);
    const segment = newTcpSegment();
    expect(parseTcp(packet, segment)).toBe(true);
    expect(segment).toMatchObject({ seq: 0xfffffff0, ack: 7, window: 1024, payloadEnd: packet.end });
    expect(segment.payloadEnd - segment.payloadStart).toBe(7);
  });

  it.each<[string, Uint8Array, Partial<Packet>]>([
    ["nothing", new Uint8Array(0), { problem: "Truncated" }],
    ["version 5", Uint8Array.of(0x55, 0, 0, 20), { problem: "Version" }],
    ["header length below 20", change(tcp(4), 0, 0x44), { problem: "HeaderLength" }],
    ["total length below the header", change(tcp(4), 3, 19), { problem: "HeaderLength" }],
    ["total length beyond the buffer", change(tcp(4), 3, 0xff), { problem: "Truncated" }],
    ["a segment cut in its header", cut4(tcp(4), 39), { problem: "Truncated" }],
    ["more fragments, offset 0", change(tcp(4), 6, 0x20), { problem: null, fragment: true, destinationPort: 443 }],
    ["a later fragment", change(change(tcp(4), 6, 0), 7, 3), { problem: null, fragmentOffset: 24, destinationPort: 0 }],
    ["a fragment beyond 64 KiB", change(change(tcp(4), 6, 0x1f), 7, 0xff), { problem: "Fragment" }],
    ["loose source route", withOptions([131, 3, 4, 0]), { problem: "SourceRoute" }],
    ["no-operation and router alert", withOptions([1, 148, 2, 0]), { problem: null, destinationPort: 443 }],
    ["an option that overruns", withOptions([7, 9, 4, 0]), { problem: "Options" }],
    ["mapped destination in IPv6", change6(tcp(6), [0, 0, 0xffff, 5]), { problem: "EmbeddedIPv4" }],
    ["compatible destination in IPv6", change6(tcp(6), [0, 0, 0, 0xc0000207]), { problem: "EmbeddedIPv4" }],
    ["hop-by-hop", extended(tcp(6), [[0, PAD8]]), { problem: null, protocol: 6, destinationPort: 443 }],
    [
      "hop-by-hop behind another",
      extended(tcp(6), [
        [60, PAD8],
        [0, PAD8],
      ]),
      { problem: "ExtensionOrder" },
    ],
    ["routing, none left", extended(tcp(6), [[43, [0, 4, 0, 0, 0, 0, 0]]]), { problem: null, destinationPort: 443 }],
    ["routing, one left", extended(tcp(6), [[43, [0, 4, 1, 0, 0, 0, 0]]]), { problem: "SourceRoute" }],
    ["atomic fragment", extended(tcp(6), [[44, [0, 0, 0, 0, 0, 0, 1]]]), { fragment: false, destinationPort: 443 }],
    ["first fragment", extended(tcp(6), [[44, [0, 0, 1, 0, 0, 0, 1]]]), { fragment: true, destinationPort: 443 }],
    [
      "later fragment",
      extended(tcp(6), [[44, [0, 0, 8, 0, 0, 0, 1]]]),
      { fragmentOffset: 8, destinationPort: 0, protocol: 6 },
    ],
    [
      "authentication",
      extended(tcp(6), [[51, [1, ...new Array<number>(10).fill(0)]]]),
      { problem: null, destinationPort: 443 },
    ],
    ["eight headers", extended(tcp(6), new Array(8).fill([60, PAD8])), { problem: null, destinationPort: 443 }],
    ["nine headers", extended(tcp(6), new Array(9).fill([60, PAD8])), { problem: "TooManyExtensions" }],
    ["an unknown next header", change(tcp(6), 6, 143), { problem: null, protocol: 143, destinationPort: 0 }],
    ["no next header", change(tcp(6), 6, 59), { problem: null, protocol: 59 }],
  ])("%s", (_, bytes, wanted) => {
    expect(guarded(bytes, parse)).toMatchObject(wanted);
  });

  it("reads ICMP echo in both families", () => {
    const v4 = change(udp(4), 9, 1);
    v4.set([8, 0, 0, 0, 0x12, 0x34], 20);
    expect(parse(v4)).toMatchObject({ icmpType: 8, icmpCode: 0, icmpId: 0x1234, problem: null });
    const v6 = change(udp(6), 6, 58);
    v6.set([128, 0, 0, 0, 0x12, 0x34], 40);
    expect(parse(v6)).toMatchObject({ icmpType: 128, icmpId: 0x1234, problem: null });
  });

  it("never throws nor reads past the end, on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x46, 0x4f, 0x60, 0x00), (bytes, first) => {
        if (bytes.length > 0) bytes[0] = first;
        if (bytes.length > 3 && first >>> 4 === 4) bytes[2] = 0;
        if (bytes.length > 5 && first === 0x60) bytes[4] = 0;
        guarded(bytes, (buf, start, end) => {
          const packet = newPacket();
          const ok = parsePacket(buf, start, end - start, packet);
          expect(ok).toBe(packet.problem === null);
          expect(packet.transport).toBeLessThanOrEqual(ok ? packet.end : Number.POSITIVE_INFINITY);
          const segment = newTcpSegment();
          const options = parseTcp(packet, segment)
            ? readTcpOptions(buf, segment.optionsStart, segment.payloadStart)
            : null;
          const udpView = newUdpDatagram();
          return [parse(buf, start, end), segment, options, parseUdp(packet, udpView), udpView];
        });
      }),
      { numRuns: runs(3000) },
    );
  });

  it("gives a value for every truncation", () => {
    for (const bytes of [
      tcp(4),
      tcp(6),
      udp(4),
      udp(6),
      extended(tcp(6), [
        [0, PAD8],
        [44, [0, 0, 0, 0, 0, 0, 1]],
      ]),
    ]) {
      everyPrefix(bytes, parse, (result, length) => {
        expect(result.problem).toBe(length === bytes.length ? null : "Truncated");
      });
    }
  });
});

describe("TCP and UDP", () => {
  it("compares sequence numbers across the wrap", () => {
    expect(seqLess(0xfffffff0, 5)).toBe(true);
    expect(seqLess(5, 0xfffffff0)).toBe(false);
    expect(seqDiff(5, 0xfffffffb)).toBe(10);
    expect(seqAdd(0xfffffffb, 10)).toBe(5);
  });

  it("reads options", () => {
    const bytes = Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 3, 3, 7);
    expect(readTcpOptions(bytes, 0, bytes.length)).toEqual({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      timestamp: 9,
      timestampEcho: 8,
      signed: false,
      fastOpen: false,
      malformed: false,
    });
    expect(readTcpOptions(Uint8Array.of(19, 18), 0, 2).malformed).toBe(true);
    expect(readTcpOptions(Uint8Array.of(34, 2, 0, 0), 0, 4).fastOpen).toBe(true);
    expect(readTcpOptions(Uint8Array.of(2), 0, 1).malformed).toBe(true);
  });

  it("refuses a data offset that cannot be", () => {
    for (const offset of [0x40, 0xf0]) {
      const packet = newPacket();
      const bytes = change(tcp(4, new Uint8Array(0)), 32, offset);
      expect(parsePacket(bytes, 0, bytes.length, packet)).toBe(true);
      expect(parseTcp(packet, newTcpSegment())).toBe(false);
    }
  });

  it("refuses a UDP length that is not the rest of the packet", () => {
    for (const length of [7, 12, 14]) {
      const packet = newPacket();
      const bytes = change(udp(4), 25, length);
      expect(parsePacket(bytes, 0, bytes.length, packet)).toBe(true);
      expect(parseUdp(packet, newUdpDatagram())).toBe(false);
    }
  });

  it("builds packets whose checksums hold, and notices each flipped bit", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(4 as const, 6 as const), (payload, family) => {
        for (const [bytes, ok] of [
          [tcp(family, payload), tcpChecksumOk],
          [udp(family, payload), udpChecksumOk],
        ] as const) {
          const packet = newPacket();
          expect(parsePacket(bytes, 0, bytes.length, packet)).toBe(true);
          expect(ok(packet)).toBe(true);
          bytes[bytes.length - 1]! ^= 0x10;
          expect(ok(packet)).toBe(false);
        }
      }),
    );
  });

  it("sums as RFC 1071 does, and a header seen on a wire to zero", () => {
    const example = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(finishChecksum(sumBytes(example, 0, 8))).toBe(~0xddf2 & 0xffff);
    const wire = "4500003c1c4640004006b1e6ac100a63ac100a0c";
    const header = Uint8Array.from(wire.match(/../g)!, (pair) => Number.parseInt(pair, 16));
    expect(finishChecksum(sumBytes(header, 0, header.length))).toBe(0);
    expect(sumBytes(Uint8Array.of(1, 2, 3), 0, 3)).toBe(0x0402);
  });

  it("a zero UDP checksum is none on IPv4 and wrong on IPv6", () => {
    for (const family of [4, 6] as const) {
      const bytes = udp(family);
      const at = family === 4 ? 26 : 46;
      bytes[at] = bytes[at + 1] = 0;
      const packet = newPacket();
      parsePacket(bytes, 0, bytes.length, packet);
      expect(udpChecksumOk(packet)).toBe(family === 4);
    }
  });

  it("replaces an endpoint", () => {
    for (const [bytes, address] of [
      [tcp(4), ipv4(0xcb007109)],
      [udp(6), { ...OUT6, w3: 99 }],
    ] as const) {
      const packet = newPacket();
      const changed = replaceEndpoint(bytes, "destination", address, 8443);
      expect(parsePacket(changed, 0, changed.length, packet)).toBe(true);
      expect(destinationAddress(packet)).toEqual(address);
      expect(packet.destinationPort).toBe(8443);
      expect(packet.protocol === 6 ? tcpChecksumOk(packet) : udpChecksumOk(packet)).toBe(true);
      const back = replaceEndpoint(changed, "source", address, 1);
      expect(parsePacket(back, 0, back.length, packet)).toBe(true);
      expect([sourceAddress(packet), packet.sourcePort]).toEqual([address, 1]);
    }
    const bytes = tcp(4);
    expect(replaceEndpoint(bytes, "source", OUT6, 1)).toBe(bytes);
  });

  it("replaces and patches payloads", () => {
    for (const family of [4, 6] as const) {
      const replaced = replaceUdpPayload(udp(family), ascii("a longer answer"))!;
      const packet = newPacket();
      expect(parsePacket(replaced, 0, replaced.length, packet)).toBe(true);
      const view = newUdpDatagram();
      expect(parseUdp(packet, view) && udpChecksumOk(packet)).toBe(true);
      expect(replaced.subarray(view.payloadStart, view.payloadEnd)).toEqual(ascii("a longer answer"));
      const patched = patchTcpPayload(tcp(family), 2, ascii("LL"))!;
      expect(parsePacket(patched, 0, patched.length, packet) && tcpChecksumOk(packet)).toBe(true);
      expect(patched.subarray(patched.length - 7)).toEqual(ascii("heLLo!!"));
      expect(patchTcpPayload(tcp(family), 6, ascii("xx"))).toBe(null);
    }
  });
});

describe("QUIC long headers", () => {
  const header = (version: number[], ids = [2, 1, 1, 0]): Uint8Array => Uint8Array.of(0xc3, ...version, ...ids);
  it.each<[string, Uint8Array, boolean]>([
    ["version 1", header([0, 0, 0, 1]), true],
    ["version 2", header([0x6b, 0x33, 0x43, 0xcf]), true],
    ["draft 29", header([0xff, 0, 0, 29]), true],
    ["reserved for negotiation", header([0x1a, 0x2a, 0x3a, 0x4a]), true],
    ["another version", header([1, 2, 3, 4]), false],
    ["a short header", change(header([0, 0, 0, 1]), 0, 0x43), false],
    ["connection ids beyond the end", header([0, 0, 0, 1], [200, 1, 1, 0]), false],
  ])("%s", (_, bytes, wanted) => {
    expect(guarded(bytes, looksLikeQuicLongHeader)).toBe(wanted);
  });
});

function change(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const changed = bytes.slice();
  changed[at] = value;
  return changed;
}

function cut4(bytes: Uint8Array, total: number): Uint8Array {
  return change(bytes, 3, total).subarray(0, total);
}

function withOptions(options: readonly number[]): Uint8Array {
  const bytes = tcp(4);
  const changed = concat(bytes.subarray(0, 20), options, bytes.subarray(20));
  changed[0] = 0x45 + options.length / 4;
  changed[3] = changed.length;
  return changed;
}

function change6(bytes: Uint8Array, words: readonly number[]): Uint8Array {
  const changed = bytes.slice();
  const view = new DataView(changed.buffer);
  for (const [index, value] of words.entries()) view.setUint32(24 + index * 4, value);
  return changed;
}
