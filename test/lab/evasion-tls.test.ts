import { expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { attack } from "../support/attacker/pod.ts";
import { describeTwins, stageWith } from "../support/attacker/stage.ts";
import { hello, open, pieces, read, send, wait } from "../support/attacker/steps.ts";
import { type Row, row, type Trick } from "../support/attacker/twins.ts";
import { ascii, concat, type HelloOptions, record, serverNameData } from "../support/hello.ts";

const APP1 = "app1-ns/app1";
const ALLOWED = "api.github.com";
const DENIED = "denied.example";
const UNREADABLE = "the hello cannot be read in one way only";
const NAMELESS = "the hello names no server";
/** What a server says before it has asked for a second hello is no more than this. */
const RETRY = 220;

const saying =
  (make: (name: string, other: string) => Uint8Array): Trick =>
  (name, other) => [open(), ...pieces(make(name, other), 1400), read()];

const named = (names: (name: string, other: string) => (string | Uint8Array)[]): Trick =>
  saying((name, other) => hello(null, { names: names(name, other) }));

const before = (bytes: Uint8Array | readonly number[]): Trick => saying((name) => concat(bytes, hello(name)));

const postQuantum: HelloOptions = { postQuantum: true };

/** SSLv2 (RFC 6101 appendix E): no room for a name. */
const SSL2 = Uint8Array.from([0x80, 43, 1, 3, 1, 0, 18, 0, 0, 0, 16, ...new Array<number>(34).fill(1)]);

const ROWS: Row[] = [
  ...[1, 2, 33].map((recordSize) =>
    row(
      `records of ${recordSize} bytes`,
      saying((name) => hello(name, { recordSize })),
    ),
  ),
  row("records of 7 bytes in segments of 5", (name) => [open(), ...pieces(hello(name, { recordSize: 7 }), 5), read()]),
  row("a post-quantum hello, the name in the second segment", (name) => [
    open(),
    ...pieces(hello(name, { ...postQuantum, extra: [[16, alpn()]] }), 1240),
    read(),
  ]),
  row("the same, second segment first", (name) => [
    open(),
    ...pieces(hello(name, postQuantum), 1240).reverse(),
    read(),
  ]),
  row(
    "16 kB of padding before the name",
    saying((name) => hello(name, { padding: 16_000 })),
  ),
  row(
    "60 kB of padding before the name",
    saying((name) => hello(name, { padding: 60_000 })),
  ),
  row(
    "extensions in reverse order",
    saying((name) => hello(name, { reversed: true })),
  ),
  row(
    "two names, the real one first",
    named((name, other) => [name, other]),
    UNREADABLE,
  ),
  row(
    "two names, the real one last",
    named((name, other) => [other, name]),
    UNREADABLE,
  ),
  row(
    "the server name extension twice",
    saying((name, other) => hello(other, { extra: [[0, serverNameData([name])]] })),
    UNREADABLE,
  ),
  row(
    "an empty name",
    named(() => [""]),
    UNREADABLE,
  ),
  row(
    "a NUL behind the allowed name",
    named((name, other) => [ascii(`${other}\0.${name}`)]),
    UNREADABLE,
  ),
  row(
    "a NUL behind the real name",
    named((name, other) => [ascii(`${name}\0.${other}`)]),
    UNREADABLE,
  ),
  row(
    "upper case",
    named((name) => [name.toUpperCase()]),
  ),
  row(
    "a trailing dot",
    named((name) => [`${name}.`]),
  ),
  row(
    "two trailing dots",
    named((name) => [`${name}..`]),
    UNREADABLE,
  ),
  row(
    "a name not in ASCII",
    named((name) => [Uint8Array.from([0xc3, 0xa9, ...ascii(name)])]),
    UNREADABLE,
  ),
  row(
    "an IP literal",
    named(() => [OUTSIDE.githubApi.ipv4]),
    UNREADABLE,
  ),
  row(
    "no name at all",
    saying(() => hello(null)),
    NAMELESS,
  ),
  row(
    "no extensions",
    saying(() => hello(null, { bare: true })),
    NAMELESS,
  ),
  row(
    "a GREASE encrypted hello",
    saying((name) => hello(name, { ech: 180 })),
  ),
  row("an alert first", before(record(21, [1, 0])), UNREADABLE),
  row("a change of cipher first", before(record(20, [1])), UNREADABLE),
  row("application data first", before(record(23, new Array<number>(64).fill(7))), UNREADABLE),
  row("an empty record first", before(record(22, [])), UNREADABLE),
  row("junk first", before([0xff, 0xfe, 0xfd, 0xfc]), "no protocol that carries a name"),
  row("an SSLv2 hello first", before(SSL2), UNREADABLE),
  row(
    "early data behind the hello",
    saying((name) =>
      concat(hello(name, { earlyData: true, preSharedKey: "last" }), record(23, new Array<number>(90).fill(5))),
    ),
  ),
  row(
    "a second hello that nobody asked for",
    (name, other) => [open(), send(0, concat(hello(other), hello(name))), read(1, 700)],
    "it is not believed before the server asks for it, and then it must name the same server",
    3000,
  ),
  row(
    "another name in the hello that the server asked for",
    (name, other) => {
      const first = hello(other, postQuantum);
      return [
        open(),
        ...pieces(first, 1400),
        read(),
        wait(100),
        send(first.length, hello(name)),
        read(RETRY + 1, 1200),
      ];
    },
    "it must name the same server",
    RETRY,
  ),
  row("the hello that the server asked for", (name) => {
    const first = hello(name, postQuantum);
    return [open(), ...pieces(first, 1400), read(), wait(100), send(first.length, hello(name)), read(RETRY + 1, 1200)];
  }),
];

function alpn(): Uint8Array {
  return Uint8Array.from([0, 9, 8, ...ascii("http/1.1")]);
}

const stage = stageWith("el", [APP1]);

describeTwins("tricks with hellos", {
  ...{ stage, rows: ROWS },
  ...{ pod: APP1, server: OUTSIDE.githubApi, port: 443, allowed: ALLOWED, denied: DENIED },
});

test("an allowed name sent to an address that it never had", async () => {
  const { lab } = stage().world;
  await lab.forgetOutside();
  const scripts = (["ipv4", "ipv6"] as const).flatMap((family) =>
    [443, 80, 8443].map((port, index) => ({
      address: OUTSIDE.evil[family],
      port,
      from: 12_000 + index,
      source: lab.pod(APP1).address[family],
      steps: [open(), ...pieces(hello(ALLOWED), 20, 20), read(1, 1500)],
    })),
  );
  const outcomes = await attack(lab, APP1, scripts.slice(0, 3));
  outcomes.push(...(await attack(lab, APP1, scripts.slice(3))));
  for (const outcome of outcomes) expect(outcome.received === "" || outcome.ended || outcome.reset).toBe(true);
  for (const { address, withPayload } of await lab.outsideSaw()) {
    if (address === OUTSIDE.evil.ipv4 || address === OUTSIDE.evil.ipv6) expect(withPayload).toBe(0);
  }
});
