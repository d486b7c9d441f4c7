import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalisePath } from "../../../src/net/url-path.ts";
import { type BodyProblem, BodyReader } from "../../../src/packet/http/body.ts";
import { type RequestHeadResult, readRequestHead } from "../../../src/packet/http/head.ts";
import { ascii, concat } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { everyPrefix, guarded } from "./guarded.ts";

const read = (buf: Uint8Array, start = 0, end = buf.length): RequestHeadResult => readRequestHead(buf, start, end);
const head = (text: string): RequestHeadResult => guarded(ascii(text), read);
const HOST = "Host: api.example.net\r\n";
const PLAIN = `GET /v1/items?key=secret HTTP/1.1\r\n${HOST}User-Agent: curl/7.88\r\nAccept: */*\r\n\r\n`;

describe("request heads that are right", () => {
  it("origin form", () => {
    expect(head(PLAIN)).toEqual({
      kind: "head",
      method: "GET",
      form: "origin",
      host: "api.example.net",
      hostIsAddress: false,
      path: "/v1/items",
      version: "1.1",
      contentLength: 0,
      chunked: false,
      upgrade: null,
      connect: false,
      keepAlive: true,
      headEnd: 5 + PLAIN.length,
    });
  });

  it.each<[string, string, object]>([
    [
      "upper case, dot and port in Host",
      "GET / HTTP/1.1\r\nhOST:\tAPI.Example.NET.:8080 \r\n\r\n",
      { host: "api.example.net" },
    ],
    ["IPv4 Host", "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n", { host: null, hostIsAddress: true }],
    ["short IPv4 Host", "GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n", { host: null, hostIsAddress: true }],
    ["IPv6 Host", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", { host: null, hostIsAddress: true }],
    ["empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", { host: null, hostIsAddress: false }],
    ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", { host: null, version: "1.0", keepAlive: false }],
    ["HTTP/1.0 keep-alive", `GET / HTTP/1.0\r\n${HOST}Connection: Keep-Alive\r\n\r\n`, { keepAlive: true }],
    ["close", `GET / HTTP/1.1\r\n${HOST}Connection: x, close\r\n\r\n`, { keepAlive: false }],
    ["absolute form", `GET http://API.example.net/a?b HTTP/1.1\r\n${HOST}\r\n`, { form: "absolute", path: "/a" }],
    ["absolute form with port 80", `GET http://api.example.net:80 HTTP/1.1\r\n${HOST}\r\n`, { path: "/" }],
    ["absolute form, query only", `GET http://api.example.net?x HTTP/1.1\r\n${HOST}\r\n`, { path: "/" }],
    ["absolute form names the host", "GET http://a.example/ HTTP/1.0\r\n\r\n", { host: "a.example" }],
    ["asterisk form", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, { form: "asterisk", path: "*" }],
    [
      "CONNECT",
      "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
      { connect: true, path: null, host: "a.example" },
    ],
    ["a length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 0042\r\n\r\n`, { contentLength: 42, chunked: false }],
    ["chunks", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: Chunked\r\n\r\n`, { contentLength: 0, chunked: true }],
    ["upgrade", `GET / HTTP/1.1\r\n${HOST}Upgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n`, { upgrade: "websocket" }],
    ["a method of one's own", `brew-it /pot HTTP/1.1\r\n${HOST}\r\n`, { method: "brew-it" }],
    ["two blank lines before", `\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, { path: "/" }],
    ["high bytes in a value", `GET / HTTP/1.1\r\n${HOST}X: \xe4\r\n\r\n`, { path: "/" }],
  ])("%s", (_, text, wanted) => {
    expect(head(text)).toMatchObject({ kind: "head", ...wanted });
  });
});

describe("request heads that two servers could read differently", () => {
  it.each<[string, string, string]>([
    ["bare LF", "GET / HTTP/1.1\nHost: a\n\n", "BareLineFeed"],
    ["bare LF in a field", `GET / HTTP/1.1\r\n${HOST}A: b\nHost: evil\r\n\r\n`, "BareLineFeed"],
    ["bare LF for the empty line", `GET / HTTP/1.1\r\n${HOST}\n`, "BareLineFeed"],
    ["bare CR in a value", `GET / HTTP/1.1\r\n${HOST}A: b\rHost: evil\r\n\r\n`, "BareCarriageReturn"],
    ["bare CR at a line", `GET / HTTP/1.1\r\n${HOST}\rX: y\r\n\r\n`, "BareCarriageReturn"],
    ["bare CR in the target", `GET /\ra HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["LF before the request", `\nGET / HTTP/1.1\r\n${HOST}\r\n`, "BareLineFeed"],
    ["three blank lines", `\r\n\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, "LeadingLines"],
    ["obs-fold", `GET / HTTP/1.1\r\nA: b\r\n ${HOST}\r\n`, "ObsoleteFold"],
    ["space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "SpaceBeforeColon"],
    ["no name", "GET / HTTP/1.1\r\n: a\r\n\r\n", "FieldName"],
    ["NUL in a name", "GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n", "FieldName"],
    ["NUL in a value", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", "FieldCharacter"],
    ["NUL in the target", `GET /\0 HTTP/1.1\r\n${HOST}\r\n`, "RequestCharacter"],
    ["no Host", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", "HostMissing"],
    ["two Hosts", `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, "SeveralHosts"],
    ["a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "HostValue"],
    ["user information in Host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "HostValue"],
    ["a port that is none", "GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", "HostValue"],
    ["high bytes in Host", "GET / HTTP/1.1\r\nHost: \xe4.example\r\n\r\n", "HostValue"],
    ["target unlike Host", `GET http://evil.example/ HTTP/1.1\r\n${HOST}\r\n`, "HostConflict"],
    ["port unlike Host", `GET http://api.example.net:81/ HTTP/1.1\r\n${HOST}\r\n`, "HostConflict"],
    ["CONNECT unlike Host", `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}\r\n`, "HostConflict"],
    ["user information in the target", `GET http://api.example.net@evil/ HTTP/1.1\r\n${HOST}\r\n`, "Target"],
    ["another scheme", `GET ftp://api.example.net/ HTTP/1.1\r\n${HOST}\r\n`, "Target"],
    ["no slash", `GET path HTTP/1.1\r\n${HOST}\r\n`, "Target"],
    ["asterisk with GET", `GET * HTTP/1.1\r\n${HOST}\r\n`, "Target"],
    [
      "length and chunks",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n`,
      "LengthAndChunked",
    ],
    [
      "two lengths",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nContent-Length: 4\r\n\r\n`,
      "SeveralContentLengths",
    ],
    ["a list of lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 4, 4\r\n\r\n`, "ContentLengthValue"],
    ["a signed length", `POST / HTTP/1.1\r\n${HOST}Content-Length: +4\r\n\r\n`, "ContentLengthValue"],
    ["a hexadecimal length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x4\r\n\r\n`, "ContentLengthValue"],
    ["no length", `POST / HTTP/1.1\r\n${HOST}Content-Length:\r\n\r\n`, "ContentLengthValue"],
    [
      "a length of 16 digits",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000000000000\r\n\r\n`,
      "ContentLengthValue",
    ],
    ["gzip, chunked", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`, "TransferEncodingValue"],
    ["xchunked", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n`, "TransferEncodingValue"],
    ["identity", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: identity\r\n\r\n`, "TransferEncodingValue"],
    [
      "chunked twice",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
      "SeveralTransferEncodings",
    ],
    ["chunks in HTTP/1.0", `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`, "ChunkedInHttp10"],
    ["CONNECT with a body", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\n", "BodyOfConnect"],
    ["Connection names Host", `GET / HTTP/1.1\r\n${HOST}Connection: close, Host\r\n\r\n`, "ConnectionValue"],
    ["HTTP/0.9", "GET /\r\n", "Http09"],
    ["HTTP/0.9 with a URL", "GET http://a/\r\n", "Http09"],
    ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, "Version"],
    ["http/1.1", `GET / http/1.1\r\n${HOST}\r\n`, "Version"],
    ["two spaces", `GET  / HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["a space in the target", `GET /a b HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["a tab for a space", `GET\t/ HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["a space behind the version", `GET / HTTP/1.1 \r\n${HOST}\r\n`, "RequestWhitespace"],
    ["a space before the method", ` GET / HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["no target", `GET  HTTP/1.1\r\n${HOST}\r\n`, "RequestWhitespace"],
    ["a fragment", `GET /a?b#c HTTP/1.1\r\n${HOST}\r\n`, "PathFragment"],
  ])("%s", (_, text, problem) => {
    expect(head(text)).toEqual({ kind: "malformed", problem });
  });

  it.each(["/a%2fb", "/a%5cb", "/..", "/a/..;/b", "/%zz", "http://api.example/a%2fb"])(
    "%s has no path that rules know",
    (target) => {
      expect(head(`GET ${target} HTTP/1.1\r\nHost: api.example\r\n\r\n`)).toMatchObject({
        kind: "head",
        path: undefined,
        host: "api.example",
      });
    },
  );

  it("64 KiB are the most", () => {
    const field = `X: ${"y".repeat(1000)}\r\n`;
    const fits = `GET / HTTP/1.1\r\n${HOST}${field.repeat(64)}\r\n`;
    expect(head(fits).kind).toBe("head");
    expect(head(`GET / HTTP/1.1\r\n${HOST}${field.repeat(70)}\r\n`)).toEqual({
      kind: "malformed",
      problem: "HeadTooLong",
    });
    expect(head(`GET /${"y".repeat(70_000)}`)).toEqual({ kind: "malformed", problem: "HeadTooLong" });
  });
});

describe("what is not HTTP", () => {
  it.each<[string, string, string]>([
    ["TLS", "\x16\x03\x01\x02\x00", "notHttp"],
    ["an SSH banner", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "notHttp"],
    ["an SSH banner, not ended", "SSH-2.0-OpenSSH_9.2p1 Deb", "need"],
    ["Redis", "PING\r\n", "notHttp"],
    ["Redis protocol", "*1\r\n$4\r\nPING\r\n", "notHttp"],
    ["memcached", "get key\r\n", "notHttp"],
    ["SMTP", "EHLO mail.example\r\n", "notHttp"],
    ["SIP", "REGISTER sip:a.example SIP/2.0\r\n", "notHttp"],
    ["JSON", '{"a":1}', "notHttp"],
    ["a control byte behind a word", "AB \x01\x02", "notHttp"],
    ["a method alone", "GET", "need"],
    ["a blank line alone", "\r\n", "need"],
    ["HTTP/2 prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"],
  ])("%s", (_, text, kind) => {
    expect(head(text).kind).toBe(kind);
  });
});

describe("heads in pieces", () => {
  it("need more at every truncation, and give the same when scanning goes on", () => {
    for (const text of [PLAIN, `POST /a/../b HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\n`, `\r\n${PLAIN}`]) {
      const bytes = ascii(text);
      everyPrefix(bytes, read, (result, length) => {
        expect(result.kind).toBe(length === bytes.length ? "head" : "need");
      });
      let scanned = 0;
      for (let end = 0; end <= bytes.length; end++) {
        const result = readRequestHead(bytes, 0, end, scanned);
        expect(result.kind).toBe(end === bytes.length ? "head" : "need");
        if (result.kind === "need") scanned = result.scanned;
        else expect(result).toEqual(read(bytes));
      }
    }
  });

  it("tell other protocols at once, also when scanning goes on", () => {
    const bytes = ascii("ABC x\x01");
    const first = readRequestHead(bytes, 0, 5);
    expect(first).toEqual({ kind: "need", scanned: 5 });
    expect(readRequestHead(bytes, 0, 6, 5)).toEqual({ kind: "notHttp" });
  });

  it("cost little in one-byte segments", () => {
    const bytes = ascii(`GET /${"y".repeat(30_000)} HTTP/1.1\r\n${"A:b\r\n".repeat(255)}${HOST}\r\n`);
    const started = performance.now();
    let result: RequestHeadResult = { kind: "need", scanned: 0 };
    for (let end = 1; result.kind === "need"; end++) result = readRequestHead(bytes, 0, end, result.scanned);
    expect(result.kind).toBe("head");
    expect(performance.now() - started).toBeLessThan(2000);
    const many = `GET / HTTP/1.1\r\n${"A:b\r\n".repeat(256)}${HOST}\r\n`;
    expect(head(many)).toEqual({ kind: "malformed", problem: "TooManyFields" });
  });

  it("stop at the empty line: the next request is not looked at", () => {
    const two = concat(ascii(PLAIN), ascii("GARBAGE\0"));
    expect(read(two)).toEqual(read(ascii(PLAIN)));
  });

  it("never throw nor read past the end, on any bytes and any damage", () => {
    const pieces = fc.constantFrom(
      "GET ",
      "/",
      "%2",
      "..",
      " HTTP/1.1",
      "\r\n",
      "\n",
      "\r",
      "Host:",
      " a",
      ":",
      "\0",
      "\xff",
      "http://",
      "[",
      "]",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 14 }), (parts) => void head(parts.join(""))),
      { numRuns: runs(2000) },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void guarded(bytes, read)),
      { numRuns: runs(1000) },
    );
    const good = ascii(`POST /a/./b%41 HTTP/1.1\r\n${HOST}Content-Length: 5\r\nConnection: close\r\n\r\n`);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        const damaged = good.slice();
        damaged[at] = value;
        guarded(damaged, read);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe("paths", () => {
  const path = (text: string) => guarded(ascii(text), normalisePath);
  it.each<[string, string]>([
    ["/", "/"],
    ["/a/b", "/a/b"],
    ["/a/b/", "/a/b/"],
    ["/a?b=/../c", "/a"],
    ["/%61%2d%7E", "/a-~"],
    ["/a%c3%a4", "/a%C3%A4"],
    ["/a%20b", "/a%20b"],
    ["//a///b", "/a/b"],
    ["/a/./b/.", "/a/b/"],
    ["/a/../b/..", "/"],
    ["/a/%2e%2E/b", "/b"],
    ["/a/b/../../c", "/c"],
    ["/a;x=1/b;y", "/a;x=1/b;y"],
    ["/...", "/..."],
    ["/..a/.b", "/..a/.b"],
    ["/a%252e", "/a%252e"],
  ])("%s is %s", (text, wanted) => {
    expect(path(text)).toEqual({ path: wanted, problem: null });
  });

  it.each<[string, string]>([
    ["/..", "PathAboveRoot"],
    ["/a/../../b", "PathAboveRoot"],
    ["/%2e%2e/", "PathAboveRoot"],
    ["/a%2Fb", "PathEncodedSlash"],
    ["/a%5cb", "PathBackslash"],
    ["/a\\b", "PathBackslash"],
    ["/a%00", "PathEncodedControl"],
    ["/a%0d%0a", "PathEncodedControl"],
    ["/a%zz", "PathPercent"],
    ["/a%", "PathPercent"],
    ["/a%4", "PathPercent"],
    ["/a/..;/b", "PathDotSegment"],
    ["/a/.;x/b", "PathDotSegment"],
    ["/a/%2e%2e%3b/b", "PathDotSegment"],
    ["/a//../b", "PathDotSegment"],
    ["/a#b", "PathFragment"],
    ["/a\x01", "PathCharacter"],
    ["/\xe4", "PathCharacter"],
    ["/a?\x01", "PathCharacter"],
  ])("%s has no one meaning", (text, problem) => {
    expect(path(text)).toEqual({ path: null, problem });
  });

  it("normalising twice changes nothing", () => {
    const pieces = fc.constantFrom("/", ".", "..", "a", "%41", "%2e", "%c3", ";", "?", "b");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const once = path(`/${parts.join("")}`);
        if (once.path !== null) expect(path(once.path)).toEqual(once);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe("bodies", () => {
  /** Walks over the body in pieces of the given sizes: the data, the number of bytes read, and how it ended. */
  function walk(
    text: string,
    reader: BodyReader,
    cuts: readonly number[],
  ): { data: string; read: number; end: string } {
    const bytes = ascii(text);
    let data = "";
    let at = 0;
    let turn = 0;
    let end = 0;
    for (;;) {
      const step = reader.step(bytes, at, end);
      if (step === "data") data += text.slice(at, reader.next);
      if (step === "done") return { data, read: at, end: "done" };
      if (step === "malformed") return { data, read: at, end: reader.problem! };
      at = reader.next;
      if (step !== "need") continue;
      if (end === bytes.length) return { data, read: at, end: "need" };
      end = Math.min(bytes.length, end + cuts[turn++ % cuts.length]!);
    }
  }

  const CUTS = [[1], [2], [3, 1], [7], [1000]];

  it.each<[string, number, boolean, string, { data: string; read: number; end: string }]>([
    ["none", 0, false, "GET", { data: "", read: 0, end: "done" }],
    ["of known length", 5, false, "helloGET", { data: "hello", read: 5, end: "done" }],
    ["cut short", 9, false, "hello", { data: "hello", read: 5, end: "need" }],
    ["chunks", 0, true, "3\r\nabc\r\n02\r\nde\r\n0\r\n\r\nGET", { data: "abcde", read: 21, end: "done" }],
    ["trailers", 0, true, "1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", { data: "a", read: 25, end: "done" }],
    [
      "a body that looks like a request",
      0,
      true,
      "10\r\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n",
      { data: "GET / HTTP/1.1\r\n", read: 27, end: "done" },
    ],
  ])("%s", (_, length, chunked, text, wanted) => {
    for (const cuts of CUTS) expect(walk(text, new BodyReader(length, chunked), cuts)).toEqual(wanted);
  });

  it.each<[string, string, BodyProblem]>([
    ["no size", "\r\n", "ChunkSize"],
    ["a size of nine digits", "000000001\r\n", "ChunkSize"],
    ["0x", "0x1\r\na\r\n", "ChunkSize"],
    ["bare LF", "1\na\r\n", "ChunkSize"],
    ["an extension", "1;a=b\r\na\r\n", "ChunkExtension"],
    ["a space behind the size", "1 \r\na\r\n", "ChunkExtension"],
    ["data longer than said", "1\r\nab\r\n", "ChunkEnd"],
    ["bare LF behind the data", "1\r\na\n", "ChunkEnd"],
    ["a length as trailer", "0\r\nContent-Length: 1\r\n\r\n", "ForbiddenTrailer"],
    ["a Host as trailer", "0\r\nhost: a\r\n\r\n", "ForbiddenTrailer"],
    ["a fold", "0\r\n a: b\r\n\r\n", "TrailerName"],
    ["NUL in a trailer", "0\r\na: \0\r\n\r\n", "TrailerCharacter"],
    ["bare LF in a trailer", "0\r\na: b\n\r\n", "TrailerCharacter"],
    ["trailers without end", `0\r\n${"a: b\r\n".repeat(2000)}`, "TrailerTooLong"],
  ])("%s", (_, text, problem) => {
    for (const cuts of CUTS) expect(walk(text, new BodyReader(0, true), cuts).end).toBe(problem);
  });

  it("never throw, and end the same wherever they are split", () => {
    const pieces = fc.constantFrom("0", "1", "a", "\r\n", "\r", "\n", ";", ":", "x", "\r\n0\r\n\r\n");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), fc.integer({ min: 1, max: 5 }), (parts, cut) => {
        const text = parts.join("");
        const whole = walk(text, new BodyReader(0, true), [1000]);
        const split = walk(text, new BodyReader(0, true), [cut]);
        expect([split.data, split.end]).toEqual([whole.data, whole.end]);
      }),
      { numRuns: runs(2000) },
    );
  });
});
