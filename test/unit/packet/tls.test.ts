import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClientHelloResult, readClientHello, TLS_ALERT_ACCESS_DENIED } from "../../../src/packet/tls.ts";
import { readServerFirst } from "../../../src/packet/tls-server.ts";
import {
  ascii,
  clientHello,
  concat,
  type HelloOptions,
  helloMessage,
  inRecords,
  record,
  serverNameData,
  u16,
} from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { CURL_HELLO, OPENSSL_HELLO, RETRIED_HELLO, RETRY_REQUEST, SECOND_HELLO, SERVER_HELLO } from "./captured.ts";
import { everyPrefix, guarded } from "./guarded.ts";

const read = (buf: Uint8Array, start = 0, end = buf.length): ClientHelloResult => readClientHello(buf, start, end);
const hello = (options: HelloOptions): ClientHelloResult => guarded(clientHello(options), read);
const NAME = "api.example.net";

/** Feeds the bytes in `pieces`, as a caller that waits for `atLeast` would. Returns the last result and the number of calls. */
function feed(bytes: Uint8Array, pieces: number): { result: ClientHelloResult; calls: number } {
  let wanted = 0;
  let calls = 0;
  let result: ClientHelloResult = { kind: "need", atLeast: 1 };
  for (let end = 0; end <= bytes.length && result.kind === "need"; end += pieces) {
    if (end < wanted) continue;
    calls++;
    result = readClientHello(bytes.subarray(0, end), 0, end);
    if (result.kind === "need") {
      expect(result.atLeast).toBeGreaterThan(end);
      wanted = result.atLeast;
    }
  }
  return { result, calls };
}

describe("ClientHello of real programs", () => {
  it("openssl s_client", () => {
    expect(guarded(OPENSSL_HELLO, read)).toMatchObject({
      kind: "hello",
      serverName: "api.weather.gov",
      serverNameProblem: null,
      encryptedClientHello: false,
      applicationProtocols: ["h2", "http/1.1"],
      supportedVersions: [0x0304, 0x0303, 0x0302, 0x0301],
      consumedEnd: 5 + OPENSSL_HELLO.length,
    });
  });

  it("curl", () => {
    expect(read(CURL_HELLO)).toMatchObject({ kind: "hello", serverName: "api.github.com" });
  });

  it("a retried handshake: the second hello comes behind a ChangeCipherSpec", () => {
    expect(read(RETRIED_HELLO)).toMatchObject({ kind: "hello", serverName: "one.example.net" });
    expect(readServerFirst(RETRY_REQUEST, 0, RETRY_REQUEST.length)).toEqual({
      kind: "serverHello",
      helloRetryRequest: true,
    });
    expect(read(SECOND_HELLO)).toEqual({ kind: "malformed", problem: "ChangeCipherSpecBeforeHello" });
    expect(readClientHello(SECOND_HELLO, 0, SECOND_HELLO.length, true)).toMatchObject({
      serverName: "one.example.net",
    });
    expect(readServerFirst(SERVER_HELLO, 0, SERVER_HELLO.length)).toEqual({
      kind: "serverHello",
      helloRetryRequest: false,
    });
  });

  it("needs more at every truncation, never less than it says", () => {
    for (const bytes of [OPENSSL_HELLO, CURL_HELLO]) {
      everyPrefix(bytes, read, (result, length) => {
        expect(result.kind).toBe(length === bytes.length ? "hello" : "need");
        if (result.kind === "need") expect(result.atLeast).toBeGreaterThan(length);
        if (result.kind === "need") expect(result.atLeast).toBeLessThanOrEqual(bytes.length);
      });
    }
  });
});

describe("server name", () => {
  it.each<[string, HelloOptions, string | null, string | null]>([
    ["one name", { names: [NAME] }, NAME, null],
    ["upper case", { names: ["API.Example.NET"] }, NAME, null],
    ["trailing dot", { names: [`${NAME}.`] }, NAME, null],
    ["underscore", { names: ["_x.example.net"] }, "_x.example.net", null],
    ["none", {}, null, null],
    ["no extensions at all", { bare: true }, null, null],
    ["two names", { names: [NAME, "evil.example"] }, null, "SeveralNames"],
    ["empty name", { names: [""] }, null, "Empty"],
    ["empty list", { names: [] }, null, "Empty"],
    ["only a dot", { names: ["."] }, null, "Empty"],
    ["two trailing dots", { names: [`${NAME}..`] }, null, "Label"],
    ["empty label", { names: ["a..b"] }, null, "Label"],
    ["label of 64", { names: [`${"a".repeat(64)}.b`] }, null, "Label"],
    ["254 bytes", { names: [`${"a.".repeat(126)}aa`] }, null, "TooLong"],
    ["NUL", { names: [`${NAME}\0.evil.example`] }, null, "Character"],
    ["non-ASCII", { names: [Uint8Array.of(0xc3, 0xa4, 0x2e, 0x61)] }, null, "Character"],
    ["space", { names: ["a b.example"] }, null, "Character"],
    ["star", { names: ["*.example"] }, null, "Character"],
    ["IPv4 literal", { names: ["192.0.2.1"] }, null, "Address"],
    ["short IPv4 literal", { names: ["127.1"] }, null, "Address"],
    ["hexadecimal IPv4 literal", { names: ["0x7f000001"] }, null, "Address"],
    ["IPv6 literal", { names: ["2001:db8::1"] }, null, "Character"],
    ["another name type", { extra: [[0, Uint8Array.of(0, 5, 1, 0, 2, 97, 98)]] }, null, "NameType"],
    ["list longer than its extension", { extra: [[0, Uint8Array.of(0, 9, 0, 0, 2, 97, 98)]] }, null, "List"],
    ["name longer than its list", { extra: [[0, Uint8Array.of(0, 5, 0, 0, 3, 97, 98)]] }, null, "List"],
  ])("%s", (_, options, serverName, serverNameProblem) => {
    expect(hello(options)).toMatchObject({ kind: "hello", serverName, serverNameProblem });
  });
});

describe("extensions", () => {
  it("tells encrypted hellos, early data and ALPN", () => {
    const result = hello({ names: [NAME], ech: 200, earlyData: true, preSharedKey: "last", alpn: ["h2", "x"] });
    expect(result).toMatchObject({ encryptedClientHello: true, earlyData: true, applicationProtocols: ["h2", "x"] });
    expect(hello({ extra: [[0xffce, new Uint8Array(4)]] })).toMatchObject({ encryptedClientHello: true });
  });

  it.each<[string, HelloOptions, string]>([
    ["server_name twice", { names: [NAME], extra: [[0, serverNameData(["evil.example"])]] }, "DuplicateExtension"],
    [
      "an unknown one twice",
      {
        extra: [
          [0x1234, new Uint8Array(0)],
          [0x1234, new Uint8Array(1)],
        ],
      },
      "DuplicateExtension",
    ],
    ["pre_shared_key first", { names: [NAME], preSharedKey: "first" }, "PreSharedKeyNotLast"],
    ["ALPN that is no list", { extra: [[16, Uint8Array.of(0, 3, 5, 97)]] }, "ApplicationProtocols"],
    ["odd supported_versions", { extra: [[43, Uint8Array.of(1, 3)]], reversed: true }, "SupportedVersions"],
    [
      "hundreds",
      { extra: Array.from({ length: 200 }, (_, i) => [1000 + i, new Uint8Array(0)] as const) },
      "TooManyExtensions",
    ],
  ])("%s", (_, options, problem) => {
    expect(hello(options)).toEqual({ kind: "malformed", problem });
  });

  it.each<[string, (message: Uint8Array) => void, string]>([
    ["legacy version 2.x", (m) => m.set([2], 4), "HelloVersion"],
    ["session id of 33", (m) => m.set([33], 38), "SessionId"],
    ["odd cipher suites", (m) => m.set(u16(5), 71), "CipherSuites"],
    ["no compression method", (m) => m.set([0], 79), "Compression"],
    ["extensions shorter than the message", (m) => m.set(u16(m.length - 84), 81), "ExtensionsLength"],
    ["an extension beyond the end", (m) => m.set(u16(60000), 85), "ExtensionOverrun"],
  ])("%s", (_, spoil, problem) => {
    const message = helloMessage({ names: [NAME] });
    spoil(message);
    expect(guarded(inRecords(message, 1 << 14), read)).toEqual({ kind: "malformed", problem });
  });
});

describe("records", () => {
  it("finds the name whatever way records and segments are cut", () => {
    const message = helloMessage({ names: [NAME], padding: 300 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 500 }), (recordSize, pieces) => {
        const bytes = inRecords(message, recordSize);
        expect(read(bytes)).toMatchObject({ kind: "hello", serverName: NAME, consumedEnd: bytes.length });
        const { result } = feed(concat(bytes, new Uint8Array(pieces)), pieces);
        expect(result).toMatchObject({ kind: "hello", serverName: NAME });
      }),
      { numRuns: runs(60) },
    );
  });

  it("a hello in one-byte records and one-byte segments costs few calls", () => {
    const { result, calls } = feed(clientHello({ names: [NAME], padding: 8000, recordSize: 1 }), 1);
    expect(result).toMatchObject({ kind: "hello", serverName: NAME });
    expect(calls).toBeLessThan(80);
  });

  it("reads 60 KB hellos and post-quantum ones", () => {
    expect(hello({ names: [NAME], padding: 60_000 })).toMatchObject({ kind: "hello", serverName: NAME });
    expect(hello({ names: [NAME], postQuantum: true })).toMatchObject({ kind: "hello", serverName: NAME });
  });

  it("stops behind the record that ends the hello", () => {
    const bytes = clientHello({ names: [NAME], earlyData: true, preSharedKey: "last" });
    const more = concat(bytes, record(20, [1]), record(23, new Uint8Array(50)));
    expect(read(more)).toMatchObject({ kind: "hello", consumedEnd: bytes.length });
  });

  const whole = helloMessage({ names: [NAME] });
  const half = Math.floor(whole.length / 2);
  const first = record(22, whole.subarray(0, half));
  const second = record(22, whole.subarray(half));
  it.each<[string, Uint8Array, string]>([
    ["an alert first", record(21, [1, 0]), "AlertBeforeHello"],
    ["a warning alert between", concat(first, record(21, [1, 0]), second), "AlertBeforeHello"],
    ["ChangeCipherSpec first", concat(record(20, [1]), first, second), "ChangeCipherSpecBeforeHello"],
    ["early data first", concat(record(23, [1, 2, 3]), first, second), "ApplicationDataBeforeHello"],
    ["junk between", concat(first, [99, 3, 3, 0, 0], second), "OtherContentBeforeHello"],
    ["an empty record", concat(first, record(22, []), second), "RecordEmpty"],
    ["a record of 16385", concat([22, 3, 1], u16(16385)), "RecordTooLong"],
    ["record version 1.1", concat([22, 1, 1], first.subarray(3), second), "RecordVersion"],
    ["record version 2.0 later", concat(first, record(22, whole.subarray(half), 0x0200)), "RecordVersion"],
    ["another handshake message", record(22, [0, 0, 0, 0]), "OtherHandshakeMessage"],
    ["a second message behind", record(22, concat(whole, [11, 0, 0, 0])), "BytesAfterHello"],
    ["a hello said to have 16 MB", record(22, [1, 0xff, 0xff, 0xff]), "TooLong"],
    ["70 KB of stream", inRecords(helloMessage({ padding: 20_000 }), 1), "TooLong"],
    ["SSLv2", Uint8Array.of(0x80, 46, 1, 3, 1, 0, 9), "SSLv2"],
    ["true SSLv2", Uint8Array.of(0x80, 46, 1, 0, 2, 0, 9), "SSLv2"],
  ])("%s", (_, bytes, problem) => {
    expect(guarded(bytes, read)).toEqual({ kind: "malformed", problem });
  });

  it.each<[string, Uint8Array, string]>([
    ["HTTP", ascii("GET / HTTP/1.1\r\n"), "notTls"],
    ["SSH", ascii("SSH-2.0-x"), "notTls"],
    ["high bytes", Uint8Array.of(0x80, 1, 2), "notTls"],
    ["high bytes, few", Uint8Array.of(0x80, 1), "need"],
    ["type 22, but no version", Uint8Array.of(22, 77, 1), "notTls"],
    ["nothing", new Uint8Array(0), "need"],
    ["one byte", Uint8Array.of(22), "need"],
  ])("%s", (_, bytes, kind) => {
    expect(guarded(bytes, read).kind).toBe(kind);
  });

  it("never throws nor reads past the end, on any bytes and any damage", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, dressed) => {
        guarded(dressed ? record(22, concat([1, 0, 0, bytes.length], bytes)) : bytes, read);
      }),
      { numRuns: runs(2000) },
    );
    const good = clientHello({ names: [NAME], alpn: ["h2"], ech: 20, preSharedKey: "last", recordSize: 90 });
    const at = fc.integer({ min: 0, max: good.length - 1 });
    fc.assert(
      fc.property(at, fc.integer({ min: 0, max: 255 }), at, (position, value, length) => {
        const bytes = good.slice();
        bytes[position] = value;
        guarded(bytes, read);
        guarded(bytes.subarray(0, length), read);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe("the server's first bytes", () => {
  it.each<[string, Uint8Array, object]>([
    ["nothing", new Uint8Array(0), { kind: "need" }],
    ["an alert", TLS_ALERT_ACCESS_DENIED, { kind: "alert", level: 2, description: 49 }],
    ["a banner", ascii("220 mail"), { kind: "other" }],
    ["another handshake message", record(22, [0, 0, 0, 0]), { kind: "other" }],
    ["application data", record(23, [1]), { kind: "other" }],
  ])("%s", (_, bytes, wanted) => {
    expect(guarded(bytes, readServerFirst)).toEqual(wanted);
  });

  it("knows a HelloRetryRequest in one-byte records, and needs more at every truncation", () => {
    const split = inRecords(RETRY_REQUEST.subarray(5), 1);
    expect(readServerFirst(split, 0, split.length)).toEqual({ kind: "serverHello", helloRetryRequest: true });
    everyPrefix(RETRY_REQUEST.subarray(0, 43), readServerFirst, (result, length) => {
      expect(result.kind).toBe(length === 43 ? "serverHello" : "need");
    });
  });

  it("never throws on any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void guarded(bytes, readServerFirst)));
  });
});
