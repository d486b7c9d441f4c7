import { beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { attack } from "../support/attacker/pod.ts";
import type { Step } from "../support/attacker/script.ts";
import { describeTwins, stageWith } from "../support/attacker/stage.ts";
import { open, pieces, read, send, wait } from "../support/attacker/steps.ts";
import { type Row, row } from "../support/attacker/twins.ts";

const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";
const ALLOWED = "api.github.com";
const DENIED = "denied.example";
const STRICT = "framing that two servers could read in two ways";
const TUNNEL = "what follows is no longer HTTP";

const get = (host: string, more = "", target = "/"): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const post = (host: string, more: string, body: string): string =>
  `POST / HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n${body}`;
const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** The whole text at once. */
const saying =
  (make: (name: string, other: string) => string) =>
  (name: string, other: string): Step[] => [
    open(),
    ...pieces(bytes(make(name, other)), 1400),
    wait(100),
    read(1, 1500),
    wait(300),
  ];

/** An allowed request that holds another one where a lenient server would look for it. */
const smuggled = (trick: string, make: (name: string, inner: string) => string): Row =>
  row(
    trick,
    saying((name, other) => make(other === ALLOWED ? other : name, get(name, "X: 1\r\n"))),
    STRICT,
  );

const chunked = "Transfer-Encoding: chunked\r\n";

const ROWS: Row[] = [
  row(
    "a plain request",
    saying((name) => get(name)),
  ),
  row("the Host split across segments", (name) => {
    const text = get(name);
    const cut = text.indexOf(name) + 5;
    return [open(), send(0, text.slice(0, cut)), wait(20), send(cut, text.slice(cut)), read()];
  }),
  row("1-byte segments", (name) => [open(), ...pieces(bytes(get(name)), 1, 2), read()]),
  row(
    "leading blank lines",
    saying((name) => `\r\n\r\n${get(name)}`),
  ),
  row(
    "an absolute target",
    saying((name) => get(name, "", `http://${name}/`)),
  ),
  row(
    "a head of 20 kB",
    saying((name) => get(name, `X-Pad: ${"a".repeat(6000)}\r\n`.repeat(3))),
  ),
  row(
    "a head over 64 kB",
    saying((name) => get(name, `X-Pad: ${"a".repeat(7000)}\r\n`.repeat(10))),
    "larger than any server takes",
  ),
  ...[0, 1, 5, 20, 40].map((cut) =>
    row(`pipelined, the second one split after ${cut} bytes`, (name) => {
      const first = get(ALLOWED);
      const whole = bytes(first + get(name));
      const at = first.length + cut;
      return [
        open(),
        send(0, whole.subarray(0, at)),
        wait(60),
        send(at, whole.subarray(at)),
        wait(300),
        read(900, 900),
      ];
    }),
  ),
  row("a kept connection", (name) => {
    const first = get(ALLOWED);
    return [open(), send(0, first), read(), wait(50), send(first.length, get(name)), wait(300), read(900, 900)];
  }),
  row(
    "a body that looks like a request",
    saying((name) => post(ALLOWED, `Content-Length: ${get(name).length}\r\n`, get(name))),
  ),
  row(
    "a chunked body that looks like a request",
    saying((name) => post(ALLOWED, chunked, `${get(name).length.toString(16)}\r\n${get(name)}\r\n0\r\n\r\n`)),
  ),
  row(
    "a request behind a chunked body",
    saying((name) => `${post(ALLOWED, chunked, "3\r\nabc\r\n0\r\n\r\n")}${get(name)}`),
  ),
  row("Expect: 100-continue", (name) => {
    const head = post(name, "Content-Length: 4\r\nExpect: 100-continue\r\n", "");
    return [open(), send(0, head), wait(200), send(head.length, "body"), read(100)];
  }),
  smuggled("Content-Length and Transfer-Encoding", (name, inner) =>
    post(name, `Content-Length: ${inner.length + 5}\r\n${chunked}`, `0\r\n\r\n${inner}`),
  ),
  smuggled("two Content-Lengths", (name, inner) =>
    post(name, `Content-Length: ${inner.length}\r\nContent-Length: 0\r\n`, inner),
  ),
  smuggled("a list of Content-Lengths", (name, inner) => post(name, `Content-Length: ${inner.length}, 0\r\n`, inner)),
  smuggled("a Content-Length with a sign", (name, inner) => post(name, `Content-Length: +${inner.length}\r\n`, inner)),
  smuggled("a space before the colon of Content-Length", (name, inner) =>
    post(name, `Content-Length : ${inner.length}\r\n`, inner),
  ),
  ...[
    "xchunked",
    "chunked, identity",
    "identity",
    "identity, chunked",
    "chun\tked",
    "\vchunked",
    '"chunked"',
    "chunked\0",
    "chunked, chunked",
  ].map((coding) =>
    smuggled(`Transfer-Encoding: ${JSON.stringify(coding)}`, (name, inner) =>
      post(name, `Transfer-Encoding: ${coding}\r\n`, `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`),
    ),
  ),
  smuggled("Transfer-Encoding twice", (name, inner) =>
    post(name, `${chunked}Transfer-Encoding: identity\r\n`, `0\r\n\r\n${inner}`),
  ),
  smuggled("a folded Transfer-Encoding", (name, inner) =>
    post(name, "Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${inner}`),
  ),
  smuggled("a chunk size with a prefix", (name, inner) =>
    post(name, chunked, `0x${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`),
  ),
  smuggled("a chunk size of 17 digits", (name, inner) =>
    post(name, chunked, `10000000000000003\r\nabc\r\n0\r\n\r\n${inner}`),
  ),
  smuggled("a chunk size that ends with a bare LF", (name, inner) =>
    post(name, chunked, `3\nabc\r\n0\r\n\r\n${inner}`),
  ),
  smuggled("a chunk extension", (name, inner) => post(name, chunked, `3;a=\n\r\nabc\r\n0\r\n\r\n${inner}`)),
  smuggled("a chunk longer than its size", (name, inner) => post(name, chunked, `3\r\nabcdef\r\n0\r\n\r\n${inner}`)),
  smuggled("a trailer that is a Host", (name, inner) => post(name, chunked, `0\r\nHost: ${DENIED}\r\n\r\n${inner}`)),
  row(
    "two Hosts, the real one first",
    saying((name, other) => get(name, `Host: ${other}\r\n`)),
    STRICT,
  ),
  row(
    "two Hosts, the real one last",
    saying((name, other) => get(other, `Host: ${name}\r\n`)),
    STRICT,
  ),
  row(
    "an absolute target unlike the Host",
    saying((name, other) => get(other, "", `http://${name}/`)),
    STRICT,
  ),
  row(
    "a Host unlike the absolute target",
    saying((name, other) => get(name, "", `http://${other}/`)),
    STRICT,
  ),
  row(
    "userinfo in the Host",
    saying((name, other) => get(`${other}@${name}`)),
    STRICT,
  ),
  row(
    "a Host with a comma",
    saying((name, other) => get(`${other},${name}`)),
    STRICT,
  ),
  row(
    "a folded Host",
    saying((name) => `GET / HTTP/1.1\r\nHost:\r\n ${name}\r\n\r\n`),
    STRICT,
  ),
  row(
    "a space before the colon",
    saying((name) => `GET / HTTP/1.1\r\nHost : ${name}\r\n\r\n`),
    STRICT,
  ),
  row(
    "a bare LF",
    saying((name) => `GET / HTTP/1.1\nHost: ${name}\n\n`),
    STRICT,
  ),
  row(
    "a Host behind a bare LF in another field",
    saying((name, other) => `GET / HTTP/1.1\r\nX: y\nHost: ${name}\r\nHost: ${other}\r\n\r\n`),
    STRICT,
  ),
  row(
    "a Host behind a bare CR",
    saying((name, other) => `GET / HTTP/1.1\r\nX: y\rHost: ${name}\r\nHost: ${other}\r\n\r\n`),
    STRICT,
  ),
  row(
    "a NUL in the head",
    saying((name) => get(name, "X: a\0b\r\n")),
    STRICT,
  ),
  row(
    "no Host",
    saying(() => "GET / HTTP/1.1\r\n\r\n"),
    "nothing names a server",
  ),
  row(
    "HTTP/1.0 without a Host",
    saying(() => "GET / HTTP/1.0\r\n\r\n"),
    "nothing names a server",
  ),
  row(
    "HTTP/0.9",
    saying(() => "GET /\r\n"),
    STRICT,
  ),
  row(
    "CONNECT",
    saying((name) => `CONNECT ${name}:443 HTTP/1.1\r\nHost: ${name}:443\r\n\r\n`),
    TUNNEL,
  ),
  row(
    "an upgrade to WebSocket",
    saying((name) => get(name, "Connection: Upgrade\r\nUpgrade: websocket\r\n")),
    TUNNEL,
  ),
  row(
    "an upgrade to HTTP/2",
    saying((name) => get(name, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")),
    TUNNEL,
  ),
  row(
    "HTTP/2 by prior knowledge",
    saying(() => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    "its heads are compressed",
  ),
];

/** Paths under `api.weather.gov`, of which only /points/, /gridpoints/, /alerts and /stations may be read. */
const PATHS: readonly (readonly [target: string, honest: boolean])[] = [
  ["/points/1,2", true],
  ["/points/a%2Cb", true],
  ["/points/./1,2", true],
  ["//points//1,2", true],
  ["/points/1,2?next=/../secret", true],
  ["/secret", false],
  ["/points/../secret", false],
  ["/points/%2e%2e/secret", false],
  ["/points/%2E%2E/secret", false],
  ["/points/.%2e/secret", false],
  ["/points/..%2fsecret", false],
  ["/points/..%5csecret", false],
  ["/points\\..\\secret", false],
  ["/points/..;/secret", false],
  ["/points/;/../../secret", false],
  // Decoded once, as RFC 3986 §2.4 says, this lies under /points/. A server that decodes twice is its own hole.
  ["/points/%252e%252e/secret", true],
  ["/%70oints/../secret", false],
  ["/points/../../secret", false],
  ["/points/%00/../secret", false],
  ["/secret?/points/", false],
  ["/secret#/points/", false],
  ["/secret/%23/../points/", false],
  ["/POINTS/1", false],
  ["*", false],
  ["/alertsx", false],
];

const stage = stageWith("eh", [APP1, APP2]);

describeTwins("requests that hide another name", {
  ...{ stage, rows: ROWS },
  ...{ pod: APP1, server: OUTSIDE.githubApi, port: 80, allowed: ALLOWED, denied: DENIED },
  expected: ({ trick, refused }, { toDenied, toHonest, honest }) => {
    expect(toDenied, "a server answered for a denied name").not.toContain(`host=${DENIED}`);
    const requests =
      trick.includes("pipelined") || trick.includes("kept") || trick.includes("behind a chunked") ? 2 : 1;
    const reached = Buffer.from(honest.received, "base64").toString("latin1").split(`reached=${ALLOWED}`).length - 1;
    const what = `the honest twin: ${toHonest.slice(0, 200)} ${JSON.stringify(honest).slice(0, 150)}`;
    if (refused === undefined) expect(reached, what).toBe(requests);
    else expect(reached, what).toBe(0);
  },
});

describe("paths that hide another path", () => {
  const saw = new Map<string, string>();

  beforeAll(async () => {
    const { world, witness } = stage();
    const { lab } = world;
    await lab.exec(APP2, ["getent", "ahosts", "api.weather.gov"]);
    const address = OUTSIDE.weatherApi.ipv4;
    const source = lab.pod(APP2).address.ipv4;
    const scripts = PATHS.map(([target], index) => ({
      address,
      port: 80,
      from: 15_000 + index,
      source,
      steps: [open(), send(0, get("api.weather.gov", "", target)), wait(100), read(1, 1000), wait(200)],
    }));
    await attack(lab, APP2, scripts);
    await new Promise((resolve) => setTimeout(resolve, 300));
    PATHS.forEach(([target], index) => {
      saw.set(target, witness.said(address, 15_000 + index));
    });
  });

  test.each(PATHS)("%s", (target, honest) => {
    const text = saw.get(target)!;
    if (honest) expect(text).toContain('"path":"/points/');
    else expect(text).toBe("");
  });
});
