import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DestinationOptions, destinationFromUrl, PLACEHOLDER } from "../../../src/decide/destination.ts";
import { normaliseUrlPath } from "../../../src/decide/url-path.ts";
import { address } from "../../support/cases.ts";

function flow(text: string, options: DestinationOptions = {}) {
  const destination = destinationFromUrl(text, options);
  if (destination.kind !== "flow") throw new Error(JSON.stringify(destination));
  return destination;
}

describe("a destination as the lane would learn of it", () => {
  test("first the packet, then the payload", () => {
    const { stages } = flow("http://API.Example.test.:8080/a/%7Eb?q=1#x", { method: "POST" });
    expect(stages).toHaveLength(2);
    expect(stages[0]).toMatchObject({
      port: 8080,
      protocol: 6,
      names: ["api.example.test"],
      namesFinal: false,
      application: "Unknown",
      ended: false,
    });
    expect(stages[0]!.evidence).toBeUndefined();
    expect(stages[1]).toMatchObject({
      application: "HTTP",
      evidence: "api.example.test",
      method: "POST",
      path: "/a/~b",
      namesFinal: true,
      ended: true,
    });
  });

  test.each<[string, object]>([
    [
      "https://a.test",
      { port: 443, protocol: 6, application: "TLS", evidence: "a.test", method: null, encryptedClientHello: false },
    ],
    ["quic://a.test", { port: 443, protocol: 17, application: "QUIC", evidence: "a.test" }],
    ["http://a.test", { port: 80, application: "HTTP", path: "/", method: "GET" }],
    ["tcp://a.test:25", { port: 25, protocol: 6, application: "Other", evidence: null, nameHidden: false }],
    ["udp://203.0.113.1:53", { port: 53, protocol: 17, names: [], address: address("203.0.113.1") }],
    ["icmp://203.0.113.1", { port: 0, protocol: 1, evidence: null }],
    ["https://203.0.113.1/", { evidence: null, nameHidden: true, names: [] }],
    ["http://203.0.113.1/", { evidence: null, nameHidden: false, names: [] }],
    ["https://[2001:db8::1]:8443/x", { port: 8443, address: address("2001:db8::1"), nameHidden: true }],
    ["https://bücher.test/", { evidence: "xn--bcher-kva.test", names: ["xn--bcher-kva.test"] }],
    ["tcp://a.test:22", { address: PLACEHOLDER, names: ["a.test"] }],
  ])("%s", (text, end) => {
    expect(flow(text).stages.at(-1)).toMatchObject(end);
  });

  test("with an address, the name is in the flow but not bound", () => {
    const { stages } = flow("https://a.test", { ip: "198.51.100.1" });
    expect(stages[1]).toMatchObject({ names: [], evidence: "a.test", address: address("198.51.100.1") });
  });

  test("a question", () => {
    expect(destinationFromUrl("dns://A.test.")).toEqual({ kind: "question", name: "a.test" });
  });

  test.each<[string, DestinationOptions, RegExp]>([
    ["a.test", {}, /^`a.test` is no destination/],
    ["ftp://a.test", {}, /^`ftp:\/\/` is not known/],
    ["constructor://a.test", {}, /is not known/],
    ["tcp://a.test", {}, /needs a port from 0 to 65535/],
    ["tcp://a.test:70000", {}, /needs a port from 0 to 65535/],
    ["https://user@a.test/", {}, /holds a user: write the host alone/],
    ["https://a_b..test/", {}, /is no DNS name/],
    ["https:///x", {}, /names no host/],
    ["icmp://203.0.113.1:7", {}, /has no ports: leave `:7` out/],
    ["http://a.test/%2e%2e%2fetc", {}, /is no path that can be read in one way only/],
    ["https://a.test", { ip: "a.test" }, /^`a.test` is no address/],
    ["https://203.0.113.1", { ip: "203.0.113.2" }, /is an address already/],
    ["dns://a.test", { ip: "203.0.113.2" }, /judged by its name/],
    ["dns://a.test/x", {}, /write `dns:\/\/name`/],
  ])("%s %j", (text, options, message) => {
    const destination = destinationFromUrl(text, options);
    expect(destination.kind === "problem" && destination.problem).toMatch(message);
  });

  test("any text is an answer, on one line", () => {
    const scheme = fc.constantFrom("https", "http", "tcp", "udp", "quic", "icmp", "dns", "x");
    const text = fc.oneof(
      fc.string(),
      fc.tuple(scheme, fc.string({ unit: "binary" })).map(([name, rest]) => `${name}://${rest}`),
    );
    fc.assert(fc.property(text, (any) => ["flow", "question", "problem"].includes(destinationFromUrl(any).kind)));
  });
});

test.each<[string, string | null]>([
  ["", "/"],
  ["?a=b", "/"],
  ["/a//b", "/a/b"],
  ["/a/./b/", "/a/b/"],
  ["/a/../b", "/b"],
  ["/a/..", "/"],
  ["/a/.", "/a/"],
  ["/..", null],
  ["/a/../../b", null],
  ["/%61%2d%3b", "/a-%3B"],
  ["/%2fx", null],
  ["/%5cx", null],
  ["/a\\b", null],
  ["/%00", null],
  ["/%0", null],
  ["/%zz", null],
  ["/%2e%2e/x", null],
  ["/a/%2e%2e/x", "/x"],
  ["/a b", null],
  ["/a//../b", null],
  ["/..;x/b", null],
  ["/%0a", null],
  ["/é", "/%C3%A9"],
  ["/\ud800", "/%EF%BF%BD"],
])("path %j is %j", (rest, path) => {
  expect(normaliseUrlPath(rest)).toBe(path);
});
