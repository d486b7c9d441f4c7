import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { World } from "../../examples/two-apps/world.ts";
import { OUTSIDE, podRange } from "../../src/lab/addresses.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../src/packet/build.ts";
import { attack, prepare, Witness } from "../support/attacker/pod.ts";
import { icmpPacket, ipPacket } from "../support/attacker/raw.ts";
import type { Step } from "../support/attacker/script.ts";
import { base64, open, packet, read, send, wait } from "../support/attacker/steps.ts";

const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";
const DNS = "kube-system/dns";
/** What a packet must not bring outside. */
const LETTER = "LETTERLETTER";
const RST = 4;
const ACK = 16;
const FAMILIES = ["ipv4", "ipv6"] as const;
const KUBELET = 10_250;

let world: World;
let witness: Witness;
let from = 10_000;

beforeAll(async () => {
  world = await World.up({ name: `en${(process.pid % 46656).toString(36)}`, nodes: 1 });
  await prepare(world.lab, [APP1, APP2]);
  witness = await Witness.start(world.lab);
});

afterAll(async () => {
  witness?.stop();
  await world?.down();
});

const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");
const experiment = base64(Uint8Array.from([253, 16, 0, 0, ...bytesOf(LETTER)]));

/** Whether any packet that came outside holds the letter, wherever. */
function delivered(): string[] {
  return witness.seen
    .filter(
      (one) =>
        Buffer.from(one.head + one.data, "base64")
          .toString("latin1")
          .includes(LETTER) || holds(one),
    )
    .map((one) => `${one.from} > ${one.to} protocol ${one.protocol} port ${one.toPort}`);
}

function holds(one: { head: string; data: string }): boolean {
  return [one.head, one.data].some((part) => Buffer.from(part, "base64").toString("latin1").includes(LETTER));
}

async function run(
  family: "ipv4" | "ipv6",
  port: number,
  steps: (own: string, port: number) => readonly Step[],
  address = OUTSIDE.evil[family],
) {
  const { lab } = world;
  const source = lab.pod(APP1).address[family];
  const mine = from++;
  const [outcome] = await attack(lab, APP1, [{ address, port, from: mine, source, steps: steps(source, mine) }]);
  await wait200();
  return outcome!;
}

const wait200 = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200));

describe.each(FAMILIES)("letters in the headers of a handshake that nobody decided, %s", (family) => {
  const evil = OUTSIDE.evil[family];
  const six = family === "ipv6";
  const between = base64(
    Uint8Array.from(six ? [0, 1, 1, 12, ...bytesOf(LETTER)] : [0x94, 16, 0, 0, ...bytesOf(LETTER)]),
  );

  /** An ICMP error about the server's SYN-ACK, which quotes more than there was. */
  const complaint = (own: string, port: number): Step => {
    const ends = {
      source: parseAddress(evil)!,
      destination: parseAddress(own)!,
      sourcePort: 443,
      destinationPort: port,
    };
    const quoted = buildTcp({ ...ends, seq: 1, ack: 1, flags: ACK, window: 1, payload: bytesOf(LETTER.repeat(20)) });
    const body = Uint8Array.from([0, 0, 0, 0, ...quoted]);
    return packet(six ? icmpPacket(own, evil, 1, 4, body) : icmpPacket(own, evil, 3, 1, body));
  };

  test.each<[string, (own: string, port: number) => Step[]]>([
    ["an option of the SYN", () => [open({ options: experiment })]],
    [
      "an option of a SYN sent again",
      () => [open({ isn: 77 }), open({ isn: 77, options: experiment, blind: true }), wait(100)],
    ],
    ["a SYN's data", () => [open({ data: base64(LETTER), blind: true }), wait(100)]],
    ["an option of an acknowledgement", () => [open(), send(0, "", { flags: ACK, options: experiment })]],
    ["IP options or an extension header", () => [open(), send(0, "", { flags: ACK, between })]],
    ["an extension header of the SYN-less kind", () => [open(), send(0, "", { flags: ACK, between, betweenType: 0 })]],
    [
      "a reset's data",
      () => [open(), send(0, LETTER, { flags: RST | ACK }), wait(50), send(0, LETTER, { flags: RST })],
    ],
    ["data left of the window", () => [open(), send(-20, LETTER)]],
    ["data right of the window", () => [open(), send(70_000, LETTER)]],
    ["urgent data", () => [open(), send(0, LETTER, { flags: 0x38, urgent: 4 })]],
    ["the quotation of an ICMP error", (own, port) => [open(), complaint(own, port), wait(100)]],
    [
      "the quotation of an ICMP error about a denied connection",
      (own, port) => [open(), send(0, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), wait(150), complaint(own, port), wait(100)],
    ],
    ["fragments that overlap", () => [open(), send(0, LETTER.repeat(4), { fragments: 24 })]],
  ])("%s", async (_, steps) => {
    await run(family, 443, steps);
    expect(delivered()).toEqual([]);
  });
});

describe.each(FAMILIES)("protocols that no rule names, %s", (family) => {
  test("nothing of any protocol arrives", async () => {
    const { lab } = world;
    await lab.forgetOutside();
    const own = lab.pod(APP1).address[family];
    const evil = OUTSIDE.evil[family];
    const ends = {
      source: parseAddress(own)!,
      destination: parseAddress(evil)!,
      sourcePort: 4444,
      destinationPort: 4444,
    };
    const payload = bytesOf(LETTER.repeat(4));
    const packets = [
      ...[2, 4, 41, 47, 50, 51, 89, 94, 97, 103, 115, 132, 136, 137, 143, 253, 255].map((protocol) =>
        ipPacket(own, evil, protocol, payload),
      ),
      buildUdp({ ...ends, payload }),
      buildUdp({ ...ends, sourcePort: 53, payload }),
      buildUdp({ ...ends, destinationPort: 53, payload }),
      buildUdp({ ...ends, destinationPort: 443, payload: Uint8Array.from([0xc3, 0, 0, 0, 1, 8, ...payload]) }),
      buildUdp({ ...ends, destinationPort: 0, payload }),
      ...(family === "ipv4"
        ? [8, 0, 3, 11, 13, 15, 17, 30, 42].map((type) =>
            icmpPacket(own, evil, type, 0, Uint8Array.from([0, 1, 0, 1, ...payload])),
          )
        : [128, 129, 1, 2, 3, 4, 133, 134, 135, 136, 137, 143, 144, 151, 160, 200].map((type) =>
            icmpPacket(own, evil, type, 0, Uint8Array.from([0, 1, 0, 1, ...payload])),
          )),
      ...(family === "ipv4"
        ? []
        : [131, 132, 133, 134, 135, 136, 143].map((type) => neighbourly(own, evil, type, payload))),
    ];
    await run(family, 9, () => packets.map(packet));
    const arrived = (await lab.outsideSaw()).filter(({ address }) => address === evil);
    expect(arrived.map(({ protocol, port, packets: count }) => `${protocol} ${port} ${count}`)).toEqual([]);
    expect(delivered()).toEqual([]);
  });
});

/** What neighbours say to each other: with the hop limit of a frame that no node has routed. */
function neighbourly(own: string, to: string, type: number, payload: Uint8Array): Uint8Array {
  const message = icmpPacket(own, to, type, 0, Uint8Array.from([0, 1, 0, 1, ...payload]));
  message[7] = 255;
  return message;
}

describe("borrowed identities", () => {
  const cases = FAMILIES.flatMap((family) => [
    [family, "another pod's address"] as const,
    [family, "an address of nobody in the pod range"] as const,
    [family, "an address outside"] as const,
    [family, "the node's address"] as const,
  ]);

  test.each(cases)("%s: %s", async (family, whose) => {
    const { lab } = world;
    const range = podRange(1)[family].split("/")[0]!;
    const sources = {
      "another pod's address": lab.pod(DNS).address[family],
      "an address of nobody in the pod range": family === "ipv4" ? range.replace(/0$/, "240") : `${range}dead`,
      "an address outside": OUTSIDE.githubApi[family],
      "the node's address": lab.node(1).address[family],
    };
    const source = sources[whose];
    const ends = {
      source: parseAddress(source)!,
      destination: parseAddress(OUTSIDE.evil[family])!,
      sourcePort: 4445,
      destinationPort: 4445,
    };
    const syn = buildTcp({ ...ends, seq: 1, ack: 0, flags: 2, window: 1000 });
    await run(family, 4445, () => [packet(buildUdp({ ...ends, payload: bytesOf(LETTER) })), packet(syn)]);
    expect(delivered()).toEqual([]);
    expect(witness.seen.filter((one) => one.toPort === 4445)).toEqual([]);
  });

  test.each(FAMILIES)("an answer that another pod makes up does not arrive, %s", async (family) => {
    const { lab } = world;
    const victim = lab.pod(APP2).address[family];
    const at = await Witness.start(lab, APP2);
    const forged = [lab.pod(DNS).address[family], lab.pod(APP1).address[family], OUTSIDE.githubApi[family]];
    const packets = forged.map((source) =>
      buildUdp({
        source: parseAddress(source)!,
        destination: parseAddress(victim)!,
        sourcePort: 53,
        destinationPort: 33_333,
        payload: bytesOf(LETTER),
      }),
    );
    await run(family, 53, () => packets.map(packet));
    expect(at.seen.filter((one) => one.toPort === 33_333)).toEqual([]);
    at.stop();
  });
});

describe.each(FAMILIES)("the node itself, %s", (family) => {
  test("its ports are closed to pods, also at the address that is their gateway", async () => {
    const { lab } = world;
    const kind = family === "ipv4" ? "TCP4-LISTEN" : "TCP6-LISTEN";
    const server = lab.spawn(
      "node1",
      ["socat", `${kind}:${KUBELET},fork,reuseaddr${family === "ipv6" ? ",ipv6only=1" : ""}`, "SYSTEM:echo kubelet"],
      { stdio: "ignore" },
    );
    await wait200();
    await wait200();
    try {
      const gateway = podRange(1).gateway[family];
      const ask = async (pod: string, address: string): Promise<string> =>
        (await lab.exec(pod, ["timeout", "2", "nc", "-w", "1", address, String(KUBELET)], { input: "" })).stdout.trim();
      // The honest twin: a pod that no policy isolates.
      expect(await ask(DNS, gateway)).toBe("kubelet");
      expect(await ask(APP1, gateway)).toBe("");
      expect(await ask(APP1, lab.node(1).address[family])).toBe("");
    } finally {
      server.kill("SIGKILL");
    }
  });
});

describe("addresses in disguise", () => {
  test.each([`::ffff:${OUTSIDE.evil.ipv4}`, "64:ff9b::cb00:7142", "2002:cb00:7142::1", OUTSIDE.metadata.ipv6])(
    "%s",
    async (address) => {
      await run("ipv6", 443, () => [open({ blind: true }), wait(100), send(0, LETTER), read(1, 200)], address);
      expect(delivered()).toEqual([]);
    },
  );

  test("the metadata service, by address and by a name that points at it", async () => {
    const { lab } = world;
    await lab.forgetOutside();
    const curl = (url: string) => lab.exec(APP1, ["curl", "-s", "-m", "3", url]);
    const results = await Promise.all([
      curl(`http://${OUTSIDE.metadata.ipv4}/latest/`),
      curl("http://rebind.github.com/latest/"),
      curl(`http://[${OUTSIDE.metadata.ipv6}]/latest/`),
    ]);
    for (const { stdout } of results) expect(stdout).not.toContain("reached=");
    expect((await lab.outsideLog()).filter(({ site }) => site === "metadata")).toEqual([]);
  });
});

describe("one pod that floods", () => {
  test("takes nothing from another", async () => {
    const { lab } = world;
    const address = OUTSIDE.evil.ipv4;
    const source = lab.pod(APP1).address.ipv4;
    const scripts = Array.from({ length: 1500 }, (_, index) => ({
      address,
      port: 443,
      from: 20_000 + index,
      source,
      // Half a hello each, in pieces that are out of order.
      steps: [
        open(),
        send(0, Uint8Array.of(22, 3, 1, 0x3f, 0)),
        send(1500, new Uint8Array(1200)),
        send(3000, new Uint8Array(1200)),
        wait(2500),
      ],
    }));
    const flood = attack(lab, APP1, scripts);
    await new Promise((resolve) => setTimeout(resolve, 900));
    const times: number[] = [];
    for (let index = 0; index < 5; index++) {
      const { stdout, milliseconds } = await lab.exec(APP2, [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-m",
        "5",
        "https://api.weather.gov/points/1,1",
      ]);
      expect(stdout).toBe("200");
      times.push(milliseconds);
    }
    expect(Math.max(...times)).toBeLessThan(2500);
    await flood;
    expect(delivered()).toEqual([]);
    const { stdout } = await lab.exec(APP1, [
      "curl",
      "-s",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      "-m",
      "8",
      "https://api.github.com/",
    ]);
    expect(stdout).toBe("200");
  });
});
