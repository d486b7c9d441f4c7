import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ipv4 } from "../../../src/net/address.ts";
import { type DnsMessage, type MalformedDns, parseDnsMessage } from "../../../src/packet/dns.ts";
import { buildDnsAnswer, frameDnsMessage } from "../../../src/packet/dns-answer.ts";
import { newNameCursor } from "../../../src/packet/dns-name.ts";
import { DnsStreamReader } from "../../../src/packet/dns-stream.ts";
import { stripEncryptedClientHello } from "../../../src/packet/dns-strip.ts";
import { NameTexts } from "../../../src/packet/name-texts.ts";
import { a, aaaa, cname, dnsMessage, https, opt, query, wireName } from "../../support/dns-message.ts";
import { ascii, concat, u16 } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { everyPrefix, guarded } from "./guarded.ts";

const read = (buf: Uint8Array, start = 0, end = buf.length): DnsMessage | MalformedDns =>
  parseDnsMessage(buf, start, end);
const NAME = "api.example.net";
const QUESTION = { name: NAME, type: 1 };

function good(bytes: Uint8Array): DnsMessage {
  const parsed = guarded(bytes, read);
  if (parsed.kind !== "message") throw new Error(`malformed: ${parsed.problem}`);
  return parsed;
}

/** A pointer to a byte of the message. */
function pointer(target: number, before = ""): Uint8Array {
  const labels = wireName(before);
  return concat(labels.subarray(0, labels.length - 1), [0xc0 | (target >>> 8), target & 0xff]);
}

describe("queries", () => {
  it("reads the question", () => {
    const parsed = good(query("API.Example.NET.", 28, { edns: 1232 }));
    expect(parsed).toMatchObject({ id: 0x1234, response: false, opcode: 0, recursionDesired: true, questionCount: 1 });
    expect(parsed.question).toMatchObject({ name: NAME, type: 28, class: 1 });
    expect(parsed.edns).toEqual({ payloadSize: 1232, version: 0, dnssecOk: true });
  });

  it.each<[string, Uint8Array | string, string | null]>([
    ["the root", "", ""],
    ["an underscore and a star", "_dns.*.example", "_dns.*.example"],
    ["a dot inside a label", concat([3], ascii("a.b"), [0]), null],
    ["a NUL", concat([3], ascii("a\0b"), [0]), null],
    ["a high byte", concat([1, 200], [3], ascii("com"), [0]), null],
    ["127 labels", "a.".repeat(127), "a.".repeat(127).slice(0, -1)],
  ])("%s", (_, name, wanted) => {
    expect(good(query(name)).question?.name).toBe(wanted);
  });

  it.each<[string, Uint8Array, string]>([
    ["128 labels", query("a.".repeat(128)), "NameTooLong"],
    ["a pointer to itself", query(pointer(12)), "NamePointer"],
    ["a pointer forward", query(pointer(40)), "NamePointer"],
    ["a pointer into the header", query(pointer(4)), "NamePointer"],
    ["a label type of 01", query(Uint8Array.of(0x41, 0)), "NameLabelType"],
    ["a byte behind the message", concat(query(NAME), [0]), "TrailingBytes"],
    ["eleven bytes", new Uint8Array(11), "Truncated"],
    ["65535 questions", dnsMessage({}).fill(0xff, 4, 6), "TooManyRecords"],
    ["two OPT", dnsMessage({ questions: [QUESTION], additional: [opt(512), opt(512)] }), "OptRecord"],
    ["OPT with a name", dnsMessage({ additional: [{ ...opt(512), name: "x" }] }), "OptRecord"],
    ["OPT as an answer", dnsMessage({ answers: [opt(512)] }), "OptRecord"],
  ])("%s", (_, bytes, problem) => {
    expect(guarded(bytes, read)).toEqual({ kind: "malformed", problem });
  });

  it("says how many questions there are", () => {
    expect(good(dnsMessage({})).question).toBe(null);
    const two = good(dnsMessage({ questions: [QUESTION, { name: "evil.example", type: 1 }] }));
    expect([two.questionCount, two.question?.name]).toEqual([2, NAME]);
  });
});

describe("answers", () => {
  it("reads a chain with compression", () => {
    const bytes = dnsMessage({
      response: true,
      truncated: true,
      questions: [QUESTION],
      answers: [
        cname(pointer(12), pointer(16, "edge"), 60),
        a("edge.example.net", "192.0.2.7", 2 ** 31 + 5),
        aaaa("edge.example.net", [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]),
      ],
    });
    const parsed = good(bytes);
    expect(parsed).toMatchObject({ response: true, truncated: true, recursionAvailable: true, rcode: 0 });
    expect(parsed.answers).toMatchObject([
      { name: NAME, type: 5, ttl: 60, target: "edge.example.net", address: null },
      { name: "edge.example.net", type: 1, ttl: 0, address: ipv4(0xc0000207), target: undefined },
      { type: 28, address: { w0: 0x20010db8, w1: 0, w2: 0, w3: 7 } },
    ]);
  });

  it.each<[string, Uint8Array, string]>([
    ["A of 3 bytes", dnsMessage({ answers: [{ name: NAME, type: 1, data: new Uint8Array(3) }] }), "RecordData"],
    ["AAAA of 17 bytes", dnsMessage({ answers: [{ name: NAME, type: 28, data: new Uint8Array(17) }] }), "RecordData"],
    ["CNAME with more behind", dnsMessage({ answers: [cname(NAME, concat(wireName("a"), [0]))] }), "RecordData"],
    ["CNAME beyond its data", dnsMessage({ answers: [cname(NAME, Uint8Array.of(5, 97))] }), "NameOverrun"],
    ["fewer records than said", dnsMessage({ response: true }).fill(1, 7, 8), "NameOverrun"],
    [
      "keys that fall",
      dnsMessage({
        answers: [
          https(NAME, 1, "", [
            [3, u8(1, 187)],
            [1, u8(2)],
          ]),
        ],
      }),
      "ServiceParameters",
    ],
    [
      "a key twice",
      dnsMessage({
        answers: [
          https(NAME, 1, "", [
            [5, u8(1)],
            [5, u8(2)],
          ]),
        ],
      }),
      "ServiceParameters",
    ],
    ["a hint of 5 bytes", dnsMessage({ answers: [https(NAME, 1, "", [[4, u8(1, 2, 3, 4, 5)]])] }), "ServiceHints"],
  ])("%s", (_, bytes, problem) => {
    expect(guarded(bytes, read)).toEqual({ kind: "malformed", problem });
  });

  it("other classes give no address", () => {
    const parsed = good(dnsMessage({ answers: [{ ...a(NAME, "192.0.2.7"), class: 3 }] }));
    expect(parsed.answers[0]?.address).toBe(null);
  });

  it("a compression bomb costs little: bare pointers do not chain", () => {
    // The data of the first record: a root name, then pointers that each lead to the one before.
    const base = dnsMessage({ questions: [QUESTION] }).length + 11;
    const links = Array.from({ length: 7000 }, (_, i) => pointer(base + (i === 0 ? 0 : 2 * i - 1)));
    const chain = { name: "", type: 16, data: concat([0], ...links) };
    const onLink = (link: number) => a(pointer(base + 1 + 2 * link), "192.0.2.7");
    const message = (link: number, count: number) =>
      dnsMessage({ questions: [QUESTION], answers: [chain, ...Array.from({ length: count }, () => onLink(link))] });
    expect(good(message(125, 1)).answers[1]?.name).toBe("");
    expect(guarded(message(126, 1), read)).toEqual({ kind: "malformed", problem: "NamePointer" });
    const bomb = message(125, 1000);
    const started = performance.now();
    for (let round = 0; round < 20; round++) expect(read(bomb).kind).toBe("message");
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it("a thousand records of one long name are read once, of many long names are too much", () => {
    const long = "a.".repeat(127);
    const records = (target: (i: number) => number) =>
      dnsMessage({
        questions: [{ name: long, type: 1 }],
        answers: Array.from({ length: 1000 }, (_, i) => a(pointer(target(i)), "192.0.2.7")),
      });
    const same = good(records(() => 12));
    expect(new Set(same.answers.map((record) => record.name))).toEqual(new Set([same.question!.name]));
    const mixed = good(
      dnsMessage({ questions: [QUESTION], answers: [12, 16, 12].map((at) => a(pointer(at), "192.0.2.7")) }),
    );
    expect(mixed.answers.map((record) => record.name)).toEqual([NAME, "example.net", NAME]);
    expect(
      guarded(
        records((i) => 12 + 2 * (i % 9)),
        read,
      ),
    ).toEqual({ kind: "malformed", problem: "NamesTooLong" });
  });

  it("gives malformed for every truncation, and never throws on damage", () => {
    const bytes = dnsMessage({
      response: true,
      questions: [QUESTION],
      answers: [
        cname(pointer(12), pointer(16, "edge")),
        a(pointer(12), "192.0.2.7"),
        https(
          NAME,
          1,
          "svc.example",
          [
            [1, u8(2, 104, 50)],
            [5, new Uint8Array(30)],
            [4, u8(192, 0, 2, 1)],
          ].sort() as never,
        ),
      ],
      additional: [opt(1232)],
    });
    everyPrefix(bytes, read, (result, length) => {
      expect(result.kind).toBe(length === bytes.length ? "message" : "malformed");
    });
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const damaged = bytes.slice();
        damaged[at] = value;
        guarded(damaged, read);
      }),
      { numRuns: runs(2000) },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 90 }), (noise) => {
        guarded(noise, read);
        if (noise.length > 12) guarded(concat([0, 1, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1], noise.subarray(12)), read);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe("encrypted hello keys", () => {
  const ALPN = [1, u8(2, 104, 50)] as const;
  const HINT4 = [4, u8(192, 0, 2, 1)] as const;
  const ECH = [5, ascii("keys-of-the-server")] as const;
  const HINT6 = [6, new Uint8Array(16).fill(9)] as const;

  /** The parameters of the first answer as `[key, value]`. */
  function parameters(bytes: Uint8Array): [number, number[]][] {
    const service = good(bytes).answers[0]!.service!;
    const list: [number, number[]][] = [];
    for (let at = service.parametersStart - 5; at < service.parametersEnd - 5; ) {
      const length = bytes[at + 2]! * 256 + bytes[at + 3]!;
      list.push([bytes[at]! * 256 + bytes[at + 1]!, [...bytes.subarray(at + 4, at + 4 + length)]]);
      at += 4 + length;
    }
    return list;
  }

  function stripped(...records: (readonly (readonly [number, Uint8Array])[])[]): Uint8Array {
    const answers = records.map((list) => https(NAME, 1, "", list));
    const bytes = dnsMessage({ response: true, questions: [QUESTION], answers });
    const before = bytes.slice();
    const ranges = stripEncryptedClientHello(bytes, read(bytes) as DnsMessage);
    for (const [index, value] of bytes.entries()) {
      const inRange = ranges.some((range) => index >= range.start && index < range.end);
      if (!inRange) expect(value).toBe(before[index]);
    }
    expect(bytes.length).toBe(before.length);
    for (const answer of good(bytes).answers) expect(answer.service?.echStart).toBe(-1);
    return bytes;
  }

  it("go, hints and order stay, at the same length", () => {
    const parsed = good(dnsMessage({ answers: [https(NAME, 1, "svc.example", [ALPN, HINT4, ECH, HINT6])] }));
    expect(parsed.answers[0]?.service).toMatchObject({ priority: 1, target: "svc.example" });
    expect(parsed.answers[0]?.service?.addresses).toHaveLength(2);
    expect(parameters(stripped([ALPN, HINT4, ECH, HINT6]))).toEqual([
      [1, [2, 104, 50]],
      [4, [192, 0, 2, 1]],
      [6, new Array(16).fill(9)],
      [65280, new Array(18).fill(0)],
    ]);
  });

  it("an empty value, several records, private keys in use", () => {
    expect(parameters(stripped([[5, u8()]], [ALPN, ECH]))).toEqual([[65280, []]]);
    expect(
      parameters(
        stripped([
          [5, u8(7)],
          [65280, u8(1)],
          [65534, u8(2)],
        ]),
      ).map(([key]) => key),
    ).toEqual([65280, 65281, 65534]);
  });

  it("a mandatory list does not name them any more", () => {
    expect(parameters(stripped([[0, u8(0, 1, 0, 5)], ALPN, ECH]))[0]).toEqual([0, [0, 1]]);
    expect(parameters(stripped([[0, u8(0, 5)], ECH])).map(([key]) => key)).toEqual([65280]);
  });

  it("nothing changes where there are none; a copy elsewhere can be patched", () => {
    const plain = dnsMessage({ answers: [https(NAME, 1, "", [ALPN])] });
    expect(stripEncryptedClientHello(plain, read(plain) as DnsMessage)).toEqual([]);
    const bytes = dnsMessage({ answers: [https(NAME, 1, "", [ECH])] });
    const shifted = concat(new Uint8Array(9), bytes);
    const [range] = stripEncryptedClientHello(shifted, read(bytes) as DnsMessage, 9);
    expect(range!.end).toBe(bytes.length);
    expect(parseDnsMessage(shifted, 9, shifted.length)).toMatchObject({ answers: [{ service: { echStart: -1 } }] });
  });

  it("holds for any parameters", () => {
    const keys = fc.uniqueArray(fc.oneof(fc.integer({ min: 7, max: 9 }), fc.integer({ min: 65270, max: 65534 })));
    fc.assert(
      fc.property(keys, fc.uint8Array({ maxLength: 9 }), (others, value) => {
        const list = [5, ...others].sort((x, y) => x - y).map((key) => [key, value] as const);
        const after = parameters(stripped(list)).filter(([key]) => others.includes(key));
        expect(after.map(([key]) => key)).toEqual([...others].sort((x, y) => x - y));
      }),
      { numRuns: runs(300) },
    );
  });
});

describe("answers of our own", () => {
  it("echo id, question and RD, and tell the error to clients with EDNS", () => {
    const asked = query("ApI.example.net", 28, { edns: 1232 });
    const extendedError = { code: 15, text: "ClusterEgressPolicy/app1" };
    const answer = buildDnsAnswer({ query: asked, rcode: 3, extendedError })!;
    const parsed = good(answer);
    expect(parsed).toMatchObject({ id: 0x1234, response: true, rcode: 3, recursionDesired: true, questionCount: 1 });
    expect(parsed.edns).toEqual({ payloadSize: 1232, version: 0, dnssecOk: true });
    const end = 12 + wireName(NAME).length + 4;
    expect(answer.subarray(12, end)).toEqual(asked.subarray(12, end));
    const text = ascii("ClusterEgressPolicy/app1");
    expect(answer.subarray(end + 9)).toEqual(
      concat(u16(6 + text.length), u16(15), u16(2 + text.length), u16(15), text),
    );
  });

  it("say nothing more to clients without EDNS, and stay within their size", () => {
    const plain = buildDnsAnswer({ query: query(NAME), rcode: 3, extendedError: { code: 15, text: "x" } })!;
    expect(plain.length).toBe(query(NAME).length);
    const long = { code: 15, text: "x".repeat(5000) };
    const small = buildDnsAnswer({ query: query("a.".repeat(120), 1, { edns: 100 }), rcode: 3, extendedError: long })!;
    expect(small.length).toBeLessThanOrEqual(512);
    expect(good(small).rcode).toBe(3);
  });

  it("are not given to answers or broken queries", () => {
    for (const bytes of [dnsMessage({ response: true, questions: [QUESTION] }), dnsMessage({}), new Uint8Array(5)]) {
      expect(buildDnsAnswer({ query: bytes, rcode: 3 })).toBe(null);
    }
  });
});

describe("DNS over TCP", () => {
  it("finds the messages wherever the stream is split", () => {
    const messages = [query(NAME), query("b.example"), dnsMessage({ additional: [opt(4096)] }), query("c.example")];
    const stream = concat(...messages.map(frameDnsMessage));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (cuts) => {
        const reader = new DnsStreamReader();
        const found: Uint8Array[] = [];
        let at = 0;
        for (let turn = 0; at < stream.length; turn++) {
          const end = Math.min(stream.length, at + cuts[turn % cuts.length]!);
          reader.push(stream, at, end);
          for (let frame = reader.next(); frame !== null; frame = reader.next()) {
            expect(stream.subarray(frame.offset, frame.offset + frame.message.length)).toEqual(frame.message);
            found.push(frame.message.slice());
          }
          at = end;
        }
        expect(found).toEqual(messages);
        expect([reader.pending, reader.consumed, reader.malformed]).toEqual([0, stream.length, false]);
      }),
    );
  });

  it("is bounded and stops at a frame that is no message", () => {
    const reader = new DnsStreamReader();
    const big = frameDnsMessage(new Uint8Array(65535));
    for (let round = 0; round < 3; round++) {
      for (let at = 0; at < big.length; at += 1400) reader.push(big, at, Math.min(at + 1400, big.length));
      expect(reader.next()?.message.length).toBe(65535);
    }
    expect(reader.next()).toBe(null);
    reader.push(Uint8Array.of(0, 11, 1), 0, 3);
    expect(reader.next()).toBe(null);
    expect([reader.malformed, reader.pending]).toEqual([true, 0]);
  });
});

function u8(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

it("reads one message after the other with one cursor as each alone", () => {
  const owner = fc.constantFrom(
    "api.example.net",
    "API.example.net",
    "b.example.net",
    "a b.example",
    `${"x".repeat(60)}.y.example.net`,
  );
  const record = fc
    .tuple(owner, owner)
    .chain(([name, target]) => fc.constantFrom(a(name, "192.0.2.1"), cname(name, target)));
  const message = fc
    .tuple(owner, fc.array(record, { maxLength: 4 }))
    .map(([name, answers]) => dnsMessage({ response: true, questions: [{ name, type: 1 }], answers }));
  const damaged = fc.tuple(message, fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
    const copy = bytes.slice();
    copy[at % copy.length] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.array(fc.oneof(message, damaged), { minLength: 2, maxLength: 8 }), (messages) => {
      const cursor = newNameCursor(new NameTexts());
      for (const bytes of messages) {
        expect(parseDnsMessage(bytes, 0, bytes.length, cursor)).toEqual(parseDnsMessage(bytes, 0, bytes.length));
      }
    }),
    { numRuns: runs(300) },
  );
});
