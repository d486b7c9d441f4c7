import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { World } from "../../examples/two-apps/world.ts";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildUdp } from "../../src/packet/build.ts";
import { attack, prepare, Witness } from "../support/attacker/pod.ts";
import type { Step } from "../support/attacker/script.ts";
import { open, packet, pieces, read, send, wait } from "../support/attacker/steps.ts";
import { query } from "../support/dns-message.ts";
import { concat, u16 } from "../support/hello.ts";

const APP1 = "app1-ns/app1";
const RESOLVER = "kube-system/dns";
const RESOLVERS = { ipv4: SERVICES.dns.ipv4, ipv6: SERVICES.dns.ipv6 };

let world: World;
/** Sits in front of the resolver: what comes there has passed the gate. */
let witness: Witness;
let from = 20_000;

beforeAll(async () => {
  world = await World.up({ name: `ed${(process.pid % 46656).toString(36)}`, nodes: 1 });
  await prepare(world.lab, [APP1]);
  witness = await Witness.start(world.lab, RESOLVER);
});

afterAll(async () => {
  witness?.stop();
  await world?.down();
});

const dig = async (...argv: string[]): Promise<string> =>
  (await world.lab.exec(APP1, ["dig", "+tries=1", "+time=2", ...argv])).stdout;
const status = (text: string): string => /status: (\w+)/.exec(text)?.[1] ?? "no answer";

/** What came to the resolver from the pod, as text. */
function asked(): string {
  const { ipv4, ipv6 } = world.lab.pod(APP1).address;
  const mine = witness.seen.filter((one) => (one.from === ipv4 || one.from === ipv6) && one.data !== "");
  return mine.map((one) => Buffer.from(one.data, "base64").toString("latin1").toLowerCase()).join("\n");
}

async function tcp(family: "ipv4" | "ipv6", steps: readonly Step[]): Promise<string> {
  const source = world.lab.pod(APP1).address[family];
  const [outcome] = await attack(world.lab, APP1, [
    { address: RESOLVERS[family], port: 53, from: from++, source, steps },
  ]);
  return Buffer.from(outcome!.received, "base64").toString("latin1");
}

async function udp(message: Uint8Array, sourcePort = from++): Promise<void> {
  const source = world.lab.pod(APP1).address.ipv4;
  const ends = {
    source: parseAddress(source)!,
    destination: parseAddress(RESOLVERS.ipv4)!,
    sourcePort,
    destinationPort: 53,
  };
  const steps = [packet(buildUdp({ ...ends, payload: message })), wait(120)];
  await attack(world.lab, APP1, [{ address: RESOLVERS.ipv4, port: 53, from: sourcePort, source, steps }]);
}

describe("questions by a real client", () => {
  test.each([
    ["mixed case", "aPi.GitHub.CoM", "A"],
    ["TXT", "api.github.com", "TXT"],
    ["ANY", "api.github.com", "ANY"],
    ["NULL", "api.github.com", "TYPE10"],
    ["HTTPS", "ech.github.com", "HTTPS"],
    ["over TCP", "+tcp", "api.github.com"],
    ["a CNAME", "docs.github.com", "A"],
    ["many addresses, so TCP in the end", "crowd.github.com", "A"],
    ["without EDNS", "+noedns", "api.github.com"],
    ["with a cookie and padding", "+cookie", "+padding=128", "api.github.com"],
  ])("%s passes", async (_, ...argv) => {
    expect(status(await dig(...argv))).toBe("NOERROR");
    expect(asked()).toContain("\x06github\x03com");
  });

  test.each([
    ["A", "www.Denied.Example", "A"],
    ["TXT", "www.denied.example", "TXT"],
    ["ANY", "www.denied.example", "ANY"],
    ["NULL", "www.denied.example", "TYPE10"],
    ["HTTPS", "www.denied.example", "HTTPS"],
    ["over TCP", "+tcp", "www.denied.example"],
    ["a tunnel's name", `${"a".repeat(60)}.${"b".repeat(60)}.denied.example`, "TXT"],
    ["the apex of a pattern", "github.com", "A"],
    ["a name that only ends like an allowed one", "evilgithub.com", "A"],
  ])("%s of a denied name is answered here", async (_, ...argv) => {
    const text = await dig(...argv);
    expect(status(text)).toBe("NXDOMAIN");
    expect(text).toContain("EDE: 15");
    expect(asked()).not.toContain("\x06denied");
    expect(asked()).not.toContain("evilgithub");
  });

  test.each([
    ["another class", "version.bind", "TXT", "CH"],
    ["no question", "+header-only", "api.github.com"],
    ["an update", "+opcode=5", "api.github.com"],
    ["a notification", "+opcode=4", "api.github.com"],
  ])("%s is refused", async (_, ...argv) => {
    expect(status(await dig(...argv))).not.toBe("NOERROR");
    expect(asked()).not.toContain("\x07version");
  });

  test("an ECH configuration does not get through, the rest of the record does", async () => {
    for (const more of ["+notcp", "+tcp"]) {
      const text = await dig(more, "ech.github.com", "HTTPS");
      expect(text).toContain(`ipv4hint=${OUTSIDE.githubEch.ipv4}`);
      expect(text).not.toMatch(/ech=|key5=/);
    }
  });

  test("addresses that change with each answer, and those of a truncated one, can be reached", async () => {
    for (const name of ["pool.github.com", "crowd.github.com"]) {
      const script = `for i in 1 2 3 4 5 6 7 8; do curl -s -m 5 -o /dev/null -w '%{http_code}\\n' https://${name}/; done`;
      const { stdout } = await world.lab.exec(APP1, ["sh", "-c", script], { timeoutMs: 50_000 });
      expect(stdout).toBe("200\n".repeat(8));
    }
  });

  test("another resolver hears nothing", async () => {
    await world.lab.forgetOutside();
    const { ipv4, ipv6 } = OUTSIDE.openResolver;
    await Promise.all([
      dig(`@${ipv4}`, "api.github.com"),
      dig("+tcp", `@${ipv4}`, "api.github.com"),
      dig(`@${ipv6}`, "api.github.com"),
      dig("-p", "853", "+tcp", `@${ipv4}`, "x"),
    ]);
    const arrived = (await world.lab.outsideSaw()).filter(({ address }) => address === ipv4 || address === ipv6);
    expect(arrived).toEqual([]);
  });
});

const LETTER = "smugglersletter";
const allowed = query("api.github.com", 1, { id: 7 });
const denied = query(`${LETTER}.denied.example`, 1, { id: 8 });
const header = (counts: readonly number[], flags = 0x0100): number[] => [0, 9, ...u16(flags), ...counts.flatMap(u16)];
const name = (...labels: string[]): number[] => [
  ...labels.flatMap((label) => [label.length, ...Buffer.from(label)]),
  0,
];
const question = (...labels: string[]): number[] => [...name(...labels), 0, 1, 0, 1];
const letter = question(LETTER, "denied", "example");
const fine = question("api", "github", "com");

describe("messages that no client sends", () => {
  test.each<[string, Uint8Array]>([
    ["two questions, the denied one second", concat(header([2, 0, 0, 0]), fine, letter)],
    ["two questions, the denied one first", concat(header([2, 0, 0, 0]), letter, fine)],
    ["a second question that is not counted", concat(header([1, 0, 0, 0]), fine, letter)],
    [
      "a record in the answer section",
      concat(header([1, 1, 0, 0]), fine, name(LETTER, "denied", "example"), [0, 16, 0, 1, 0, 0, 0, 0, 0, 0]),
    ],
    [
      "a record in the additional section",
      concat(header([1, 0, 0, 1]), fine, name(LETTER), [0, 16, 0, 1, 0, 0, 0, 0, 0, 0]),
    ],
    ["a pointer to itself", concat(header([1, 0, 0, 0]), [0xc0, 12, 0, 1, 0, 1])],
    [
      "a pointer forward to a denied name",
      concat(header([1, 0, 0, 0]), [0xc0, 18, 0, 1, 0, 1], name(LETTER, "denied", "example")),
    ],
    [
      "a name that ends in a pointer into the header",
      concat(header([1, 0, 0, 0]), [3, ...Buffer.from("api"), 0xc0, 0, 0, 1, 0, 1]),
    ],
    ["a label longer than its message", concat(header([1, 0, 0, 0]), [63, ...Buffer.from(LETTER)])],
    [
      "a dot in a label",
      concat(header([1, 0, 0, 0]), question(`${LETTER}.denied.example.api`, "github", "com").slice(0)),
    ],
    ["an answer", concat(header([1, 0, 0, 0], 0x8180), letter)],
    ["junk", Buffer.from(LETTER.repeat(3))],
    ["nothing", new Uint8Array(0)],
  ])("%s", async (what, message) => {
    await udp(message);
    // Under an allowed suffix a label may say what it likes (documented: data in query names); a dot in it may not.
    expect(asked(), what).not.toContain(LETTER);
  });
});

describe.each(["ipv4", "ipv6"] as const)("questions over TCP, %s", (family) => {
  const framed = (message: Uint8Array): Uint8Array => concat(u16(message.length), message);

  test.each([1, 2, 3, 9])("in segments of %i bytes", async (size) => {
    const answer = await tcp(family, [open(), ...pieces(framed(allowed), size, 5), read(20)]);
    expect(answer).toContain("\x03api\x06github\x03com");
    const refusal = await tcp(family, [open(), ...pieces(framed(denied), size, 5), read(20)]);
    expect(refusal.charCodeAt(5) & 15).toBe(3);
    expect(asked()).not.toContain(LETTER);
  });

  test("two in one connection, the second denied", async () => {
    const first = framed(allowed);
    const answer = await tcp(family, [
      open(),
      send(0, first),
      read(20),
      wait(50),
      send(first.length, framed(denied)),
      wait(200),
      read(400, 500),
    ]);
    expect(answer).toContain("\x03api\x06github\x03com");
    expect(asked()).not.toContain(LETTER);
  });

  test("two in one segment, the second denied", async () => {
    await tcp(family, [open(), send(0, concat(framed(allowed), framed(denied))), wait(200), read(400, 500)]);
    expect(asked()).not.toContain(LETTER);
  });

  test("sent again with another name", async () => {
    const other = framed(
      query(`${"x".repeat(LETTER.length)}.github.com`.padEnd(LETTER.length + 15, "m").slice(0, LETTER.length + 15), 1, {
        id: 8,
      }),
    );
    await tcp(family, [
      open(),
      send(0, other, { ttl: 9 }),
      wait(50),
      send(0, framed(denied)),
      wait(200),
      read(400, 300),
    ]);
    expect(asked()).not.toContain(LETTER);
  });

  test.each([0, 5, 11])("a length of %i ends the connection", async (length) => {
    await tcp(family, [open(), send(0, concat(u16(length), Buffer.from(LETTER))), read(1, 500)]);
    expect(asked()).not.toContain(LETTER);
  });
});
