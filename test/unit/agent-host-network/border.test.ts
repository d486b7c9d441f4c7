import { describe, expect, test } from "vitest";
import { type Admission, HOST, HostBorder, hostAnswer } from "../../../src/agent/host-network/border.ts";
import { PortKeeper } from "../../../src/agent/host-network/port-keeper.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import { HOST_SLOTS, hostKey, isHostKey } from "../../../src/model/host-pod.ts";
import { ANSWER } from "../../../src/model/verdict.ts";
import { formatAddress, parseAddress } from "../../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../../src/packet/build.ts";
import { destinationAddress, newPacket, parsePacket, sourceAddress } from "../../../src/packet/ip.ts";
import { tcpChecksumOk } from "../../../src/packet/tcp.ts";

const IN = 1;
const OUT = 3;
const address = (text: string) => parseAddress(text)!;
const TAG = 0x8000_0000;
const A = { tag: 77, number: 1 };
const B = { tag: 78, number: 2 };

interface Ends {
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly server?: number;
}

const tcp = ({ from = "192.0.2.11", to = "198.51.100.9", port = 40_000, server = 443 }: Ends) =>
  buildTcp({
    ...{ source: address(from), destination: address(to), sourcePort: port, destinationPort: server },
    ...{ seq: 7, ack: 0, flags: 2, window: 1024 },
  });
const udp = ({ from = "192.0.2.11", to = "10.96.0.10", port = 5_000, server = 53 }: Ends) =>
  buildUdp({
    ...{ source: address(from), destination: address(to), sourcePort: port, destinationPort: server },
    payload: Uint8Array.of(1, 2, 3),
  });

function border(...pods: readonly (typeof A)[]): HostBorder {
  const made = new HostBorder({ take: () => true, isStill: () => true, close: () => undefined });
  made.set(pods.length === 0 ? [A, B] : pods);
  return made;
}

const sent = (to: HostBorder, bytes: Uint8Array, tag: number): Admission =>
  to.admit({ bytes, start: 0, length: bytes.length, hook: OUT, priority: TAG + tag, fromServer: false });
const got = (to: HostBorder, bytes: Uint8Array): Admission =>
  to.admit({ bytes, start: 0, length: bytes.length, hook: IN, priority: 0, fromServer: true });

function ends(bytes: Uint8Array): [string, string] {
  const packet = newPacket();
  expect(parsePacket(bytes, 0, bytes.length, packet)).toBe(true);
  if (packet.protocol === 6) expect(tcpChecksumOk(packet)).toBe(true);
  return [formatAddress(sourceAddress(packet)), formatAddress(destinationAddress(packet))];
}

describe("ports", () => {
  /** What is asked of the kernel; `refuses`: it does not answer well. */
  const keeper = () => {
    const asked: string[] = [];
    const kernel = { refuses: false };
    const say = (words: string) => {
      asked.push(words);
      return kernel.refuses ? 1 : 0;
    };
    const owners = {
      forget: (protocol: number, port: number, priority: number) => say(`${protocol} ${port} ${priority}`),
      forgetAll: () => say("all"),
      close: () => undefined,
    };
    const made = new PortKeeper(
      () => asked.push("flush"),
      (problem) => asked.push(problem),
      () => owners,
    );
    return { made, asked, kernel };
  };

  test("what the kernel knows from before is forgotten first, then a port is taken from whoever had it", () => {
    const { made, asked } = keeper();
    const takes: [number, number, number][] = [
      [17, 5_000, 1],
      [17, 5_000, 1],
      [17, 5_001, 2],
      [1, 0x800, 2],
      [17, 5_000, 2],
      [1, 0x800, 1],
    ];
    expect(takes.map((one) => made.take(...one))).toEqual(Array(takes.length).fill(true));
    expect(asked).toEqual(["all", "flush", "17 5000 1", "flush", "1 2048 2"]);
  });

  test("nothing goes while whose a port was is still believed", () => {
    const { made, asked, kernel } = keeper();
    kernel.refuses = true;
    expect(made.take(17, 5_000, 1)).toBe(false);
    kernel.refuses = false;
    expect(made.take(17, 5_000, 1)).toBe(true);
    kernel.refuses = true;
    expect(made.take(17, 5_000, 2)).toBe(false);
    expect(made.take(17, 5_000, 2)).toBe(false);
    kernel.refuses = false;
    expect(made.take(17, 5_000, 2)).toBe(true);
    expect(asked.filter((words) => words === "all")).toHaveLength(4);
    expect(asked.some((words) => words.includes("EPERM"))).toBe(true);
  });

  test("who takes and takes is stopped for a while, and the port stays whose it was", () => {
    const { made, asked } = keeper();
    const both = Array.from({ length: 1_000 }, (_, i) => made.take(17, 5_000, 1 + (i % 2)));
    const taken = asked.filter((words) => words.startsWith("17")).length;
    expect(taken).toBeGreaterThan(50);
    expect(taken).toBeLessThan(900);
    expect(both.filter((may) => !may).length).toBeGreaterThan(0);
    expect(made.take(17, 5_001, 3)).toBe(true);
  });

  test("of protocols with thousands of ports of their own, all is forgotten now and then", () => {
    const { made, asked } = keeper();
    for (let port = 0; port < 4_097; port++) expect(made.take(132, port, 1)).toBe(true);
    expect(asked).toEqual(["all", "flush", "all"]);
  });

  test("of a pod whose packet waits may be another's when it is answered: then it does not go", () => {
    const made = new HostBorder(keeper().made);
    made.set([A, B]);
    const hold = (ticket: number, bytes: Uint8Array, tag: number) => {
      expect(sent(made, bytes, tag)).toBe("host");
      made.hold(ticket);
    };
    hold(1, udp({}), A.tag);
    hold(2, udp({ port: 5_001 }), A.tag);
    hold(3, tcp({ port: 5_000 }), A.tag);
    expect(sent(made, udp({ server: 54 }), B.tag)).toBe("host");
    expect([1, 2, 3, 4].map((ticket) => made.mayGo(ticket))).toEqual([false, true, true, true]);
    hold(5, udp({}), A.tag);
    expect(made.mayGo(5)).toBe(true);
  });

  test("are the lane's to take before a packet is admitted, but for TCP", () => {
    const taken: number[][] = [];
    const refused = { take: (...one: number[]) => taken.push(one) === 0, isStill: () => true, close: () => undefined };
    const made = new HostBorder(refused);
    made.set([A]);
    expect(sent(made, udp({}), A.tag)).toBe("drop");
    expect(sent(made, tcp({}), A.tag)).toBe("host");
    expect(taken).toEqual([[17, 5_000, TAG + A.tag]]);
  });
});

describe("what such a pod sends", () => {
  test("bears the address that stands for it, with right checksums", () => {
    const bytes = tcp({});
    expect(sent(border(), bytes, A.tag)).toBe("host");
    expect(ends(bytes)).toEqual(["0.0.1.0", "198.51.100.9"]);
    const six = tcp({ from: "2001:db8:2::11", to: "2001:db8:100::9" });
    expect(sent(border(), six, B.tag)).toBe("host");
    expect(ends(six)[0]).toBe("0:0:5350:5254::200");
  });

  test("of each address of the node it has another, and the ninth takes the place of the one not used for longest", () => {
    const at = border();
    const first = Array.from({ length: HOST_SLOTS }, (_, index) => tcp({ from: `192.0.2.${index + 1}` }));
    for (const bytes of first) expect(sent(at, bytes, A.tag)).toBe("host");
    expect(new Set(first.map((bytes) => ends(bytes)[0])).size).toBe(HOST_SLOTS);
    expect(sent(at, tcp({ from: "192.0.2.1" }), A.tag)).toBe("host");
    const ninth = tcp({ from: "192.0.2.99" });
    expect(sent(at, ninth, A.tag)).toBe("host");
    expect(ends(ninth)[0]).toBe(ends(first[1]!)[0]);
    expect(ends(at.outward(ninth)!)[0]).toBe("192.0.2.99");
    // Another pod has slots of its own.
    const other = tcp({ from: "192.0.2.2" });
    sent(at, other, B.tag);
    expect(ends(at.outward(other)!)[0]).toBe("192.0.2.2");
  });

  test("is dropped where nobody knows the pod, or under an address that stands for one", () => {
    expect(sent(border(A), tcp({}), B.tag)).toBe("drop");
    expect(sent(border(), tcp({ from: "0.0.2.0" }), A.tag)).toBe("drop");
    expect(sent(border(), Uint8Array.of(0x45, 0, 0), A.tag)).toBe("drop");
  });

  test("is somebody else's without the tag, or in another hook", () => {
    const at = border();
    const bytes = tcp({});
    const packet = { bytes, start: 0, length: bytes.length, hook: OUT, priority: 6, fromServer: false };
    expect(at.admit(packet)).toBe("other");
    expect(at.admit({ ...packet, hook: 2, priority: TAG + A.tag })).toBe("other");
    expect(ends(bytes)).toEqual(["192.0.2.11", "198.51.100.9"]);
  });

  test.each(["0.0.1.0", "0:0:5350:5254::100"])("nobody comes in from elsewhere under %s", (from) => {
    const to = from.includes(":") ? "2001:db8::1" : "198.51.100.9";
    const bytes = tcp({ from, to });
    const packet = { bytes, start: 0, length: bytes.length, hook: 2, priority: 0, fromServer: false };
    expect(border().admit(packet)).toBe("drop");
  });
});

describe("what comes back", () => {
  test("bears the address of the pod that asked", () => {
    const at = border();
    sent(at, tcp({}), A.tag);
    sent(at, tcp({ to: "198.51.100.10" }), B.tag);
    const answer = tcp({ from: "198.51.100.9", to: "192.0.2.11", port: 443, server: 40_000 });
    expect(got(at, answer)).toBe("host");
    expect(ends(answer)).toEqual(["198.51.100.9", "0.0.1.0"]);
    const other = tcp({ from: "198.51.100.10", to: "192.0.2.11", port: 443, server: 40_000 });
    expect(got(at, other)).toBe("host");
    expect(ends(other)[1]).toBe("0.0.2.0");
  });

  test("of UDP also from another server than was asked, for that was before translation", () => {
    const at = border();
    sent(at, udp({}), A.tag);
    const answer = udp({ from: "10.244.1.2", to: "192.0.2.11", port: 53, server: 5_000 });
    expect(got(at, answer)).toBe("host");
    expect(ends(answer)[1]).toBe("0.0.1.0");
  });

  test("is nobody's where no such pod asked", () => {
    expect(got(border(), tcp({ from: "198.51.100.9", to: "192.0.2.11", port: 443, server: 40_000 }))).toBe("other");
  });

  test("is forgotten with its pod, and with the oldest flows of one that has too many", () => {
    const at = border();
    const answer = () => tcp({ from: "198.51.100.9", to: "192.0.2.11", port: 443, server: 40_000 });
    sent(at, tcp({}), A.tag);
    at.set([B]);
    expect(got(at, answer())).toBe("other");
    at.set([A, B]);
    sent(at, tcp({}), A.tag);
    for (let port = 1; port <= 8_192; port++) sent(at, udp({ port }), B.tag);
    expect(got(at, answer())).toBe("host");
    for (let port = 1; port <= 8_192; port++) sent(at, udp({ port }), A.tag);
    expect(got(at, answer())).toBe("other");
  });
});

describe("what leaves the lane", () => {
  test("bears the node's address, as a copy", () => {
    const at = border();
    const bytes = tcp({});
    sent(at, bytes, A.tag);
    const out = at.outward(bytes)!;
    expect(ends(out)).toEqual(["192.0.2.11", "198.51.100.9"]);
    expect(ends(bytes)[0]).toBe("0.0.1.0");
    const towards = tcp({ from: "198.51.100.9", to: "0.0.1.0" });
    expect(ends(at.outward(towards)!)).toEqual(["198.51.100.9", "192.0.2.11"]);
    const foreign = tcp({ from: "10.244.1.2" });
    expect(at.outward(foreign)).toBe(foreign);
    expect(at.outward(tcp({ from: "0.0.9.0" }))).toBeNull();
  });

  test("so do tuples and records, and the lane's words for a tuple are found again", () => {
    const at = border();
    sent(at, tcp({}), A.tag);
    const real = {
      protocol: 6,
      client: address("192.0.2.11"),
      server: address("198.51.100.9"),
      clientPort: 40_000,
      serverPort: 443,
    };
    const inner = at.inner(real);
    expect(isHostKey(inner.client)).toBe(true);
    expect(at.outer(inner)).toEqual(real);
    expect(at.outerEvent({ tuple: inner } as FlowEvent).tuple).toEqual(real);
    const other = { ...real, clientPort: 1 };
    expect(at.inner(other)).toBe(other);
  });

  test("the kernel opens nothing of theirs by itself", () => {
    expect(hostAnswer(ANSWER.carry, false)).toBe(ANSWER.allow);
    expect(hostAnswer(ANSWER.tell, false)).toBe(ANSWER.look);
    expect(hostAnswer(ANSWER.reject, false)).toBe(ANSWER.reject);
    expect(hostAnswer(ANSWER.allow, true)).toBe(0);
  });
});

test("a packet of a batch has its place", () => {
  const at = border();
  const bytes = tcp({});
  const batch = {
    ...{ bytes, offset: [0], length: [bytes.length], hook: [OUT], priority: [TAG + A.tag] },
  } as unknown as Parameters<HostBorder["place"]>[0];
  expect(at.place(batch, 0, 0x20)).toBe(HOST);
  expect(hostKey(1, 0, true)).toEqual(address("0.0.1.0"));
  const forwarded = (from: string, to: string) => {
    const other = tcp({ from, to });
    return at.place({ ...batch, bytes: other, hook: [2], length: [other.length] } as unknown as typeof batch, 0, 0x20);
  };
  expect(forwarded("10.244.1.2", "198.51.100.9")).toBe(0);
  expect(forwarded("0.0.1.0", "198.51.100.9")).toBe(-1);
  expect(forwarded("10.244.1.2", "0.0.1.0")).toBe(-1);
  expect(forwarded("0:0:5350:5254::100", "2001:db8::1")).toBe(-1);
  expect(forwarded("2001:db8::1", "2001:db8::2")).toBe(0);
});
