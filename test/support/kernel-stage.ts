import { execFileSync } from "node:child_process";
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import { expect } from "vitest";
import { Conntrack, enableAccounting } from "../../src/kernel/conntrack.ts";
import type { ConntrackEntry } from "../../src/kernel/conntrack-entry.ts";
import { markLayout, withWord, wordOf } from "../../src/kernel/marks.ts";
import { probeQueueMethod, Ruleset } from "../../src/kernel/nftables.ts";
import { openQueue, type Queue } from "../../src/kernel/queue.ts";
import { CARRIED_COUNTER, type RulesetSpec } from "../../src/kernel/ruleset.ts";
import type { RulesetSets } from "../../src/kernel/ruleset-sets.ts";
import { ANSWER, QUESTION } from "../../src/model/verdict.ts";
import { parseAddress } from "../../src/net/address.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { buildUdp } from "../../src/packet/build.ts";

const RUN = `spk-${process.pid}`;
export const [STRICT, FREE, NODE, OUTSIDE] = ["strict", "free", "node", "out"].map((name) => `${RUN}-${name}`) as [
  string,
  string,
  string,
  string,
];
export const QUEUE = 5100;
export const LAYOUT = markLayout(0x3f);

/** The same story in both families. */
export const FAMILIES = [
  {
    name: "IPv4",
    strict: "10.244.0.2",
    free: "10.244.0.3",
    gateway: "10.244.0.1",
    node: "192.0.2.1",
    server: "192.0.2.10",
    service: "10.96.0.10",
    udp: "udp4",
  },
  {
    name: "IPv6",
    strict: "fd00:244::2",
    free: "fd00:244::3",
    gateway: "fd00:244::1",
    node: "2001:db8::1",
    server: "2001:db8::10",
    service: "fd00:96::10",
    udp: "udp6",
  },
] as const;

export const address = (text: string) => parseAddress(text)!;
function cidr(text: string) {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
}

export const sets: RulesetSets = {
  podRanges: [cidr("10.244.0.0/24"), cidr("fd00:244::/64")],
  workloads: FAMILIES.flatMap((family) => [address(family.strict), address(family.free)]),
  observed: FAMILIES.map((family) => address(family.free)),
  inside: [cidr("10.244.0.0/16"), cidr("10.96.0.0/16"), cidr("fd00:244::/48"), cidr("fd00:96::/64")],
  internalEndpoints: [],
  resolvers: FAMILIES.map((family) => address(family.service)),
  podInterfaces: ["strict", "free"],
  bypass: [],
  asideUntil: 0,
};

const setns = koffi.load(null).func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;
const CLONE_NEWNET = 0x40000000;

const HOME = openSync("/proc/thread-self/ns/net", "r");

function enter(namespace: string): void {
  const fd = openSync(`/run/netns/${namespace}`, "r");
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns ${namespace} failed`);
  closeSync(fd);
}

function leave(): void {
  if (setns(HOME, CLONE_NEWNET) !== 0) throw new Error("cannot return to the namespace of the test");
}

let entered: Promise<unknown> = Promise.resolve();

/** Runs `body` in a namespace, one at a time; sockets that it opens within one turn of the loop belong there. */
export function within<T>(namespace: string, body: () => T | Promise<T>): Promise<T> {
  const turn = entered.then(async () => {
    enter(namespace);
    try {
      const result = body();
      await new Promise((resolve) => setImmediate(resolve));
      return { result };
    } finally {
      leave();
    }
  });
  entered = turn.catch(() => {});
  return turn.then(({ result }) => result);
}

export function sh(namespace: string, command: string): string {
  return execFileSync("ip", ["netns", "exec", namespace, "sh", "-ec", command], { encoding: "utf8", timeout: 20_000 });
}

function raiseNetwork(): void {
  for (const namespace of [STRICT, FREE, NODE, OUTSIDE]) {
    execFileSync("ip", ["netns", "add", namespace]);
    sh(namespace, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0; ip link set lo up");
  }
  const legs: [string, string, string, string][] = [
    [STRICT, "strict", "10.244.0.2", "fd00:244::2"],
    [FREE, "free", "10.244.0.3", "fd00:244::3"],
  ];
  sh(NODE, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  for (const [namespace, leg, v4, v6] of legs) {
    sh(
      NODE,
      `ip link add ${leg} type veth peer name eth0 netns ${namespace}
      ip addr add 10.244.0.1/32 dev ${leg}; ip -6 addr add fd00:244::1/128 dev ${leg} nodad; ip link set ${leg} up
      ip route add ${v4} dev ${leg}; ip -6 route add ${v6} dev ${leg}`,
    );
    sh(
      namespace,
      `ip addr add ${v4}/32 dev eth0; ip -6 addr add ${v6}/128 dev eth0 nodad; ip link set eth0 up
      ip route add 10.244.0.1 dev eth0; ip route add default via 10.244.0.1
      ip -6 route add fd00:244::1 dev eth0; ip -6 route add default via fd00:244::1`,
    );
  }
  sh(
    NODE,
    `ip link add outside type veth peer name eth0 netns ${OUTSIDE}
    ip addr add 192.0.2.1/24 dev outside; ip -6 addr add 2001:db8::1/64 dev outside nodad; ip link set outside up`,
  );
  sh(
    OUTSIDE,
    `ip addr add 192.0.2.10/24 dev eth0; ip -6 addr add 2001:db8::10/64 dev eth0 nodad; ip link set eth0 up
    ip route add 10.244.0.0/16 via 192.0.2.1; ip -6 route add fd00:244::/48 via 2001:db8::1`,
  );
}

function lowerNetwork(): void {
  for (const namespace of [STRICT, FREE, NODE, OUTSIDE]) {
    try {
      execFileSync("ip", ["netns", "del", namespace], { stdio: "ignore" });
    } catch {}
  }
}

export interface Question {
  readonly flags: number;
  readonly observed: boolean;
  readonly size: number;
}
export type Policy = (question: Question) => number;

/**
 * What the agent will be: takes questions of both queues and answers by `policy`. What connections of earlier tests still
 * send (the kernel retransmits their ends) is cut and is no question of this one.
 */
class Listener {
  readonly questions: Question[] = [];
  readonly queues: Queue[];
  policy: Policy;
  private readonly port = nextPort - 1;
  private timer: NodeJS.Timeout;

  constructor(queues: Queue[], policy: Policy) {
    this.queues = queues;
    this.policy = policy;
    this.timer = setInterval(() => this.turn(), 1);
  }

  private turn(): void {
    for (const queue of this.queues) {
      const count = queue.receive();
      for (let index = 0; index < count; index++) {
        const mark = queue.batch.mark[index]!;
        const word = wordOf(LAYOUT, mark);
        const question = {
          flags: word & ~QUESTION,
          observed: queue.number === QUEUE + 1,
          size: queue.batch.length[index]!,
        };
        expect(word & QUESTION).toBe(QUESTION);
        if (this.isStray(queue, index)) {
          queue.verdict(queue.batch.id[index]!, true, withWord(LAYOUT, mark, ANSWER.cut));
          continue;
        }
        this.questions.push(question);
        queue.verdict(queue.batch.id[index]!, true, withWord(LAYOUT, mark, this.policy(question)));
      }
      queue.flush();
    }
  }

  private isStray({ batch }: Queue, index: number): boolean {
    const at = batch.offset[index]!;
    const ports = at + (batch.bytes[at]! >> 4 === 4 ? 20 : 40);
    return [ports, ports + 2].some((from) => {
      const port = (batch.bytes[from]! << 8) | batch.bytes[from + 1]!;
      return port >= FIRST_PORT && port < this.port;
    });
  }

  close(): void {
    clearInterval(this.timer);
    for (const queue of this.queues) queue.close();
  }
}

export const cleanups: (() => unknown)[] = [];
export let ruleset: Ruleset;
export let conntrack: Conntrack;
export let spec: RulesetSpec;

export async function listen(policy: Policy): Promise<Listener> {
  const queues = await within(NODE, () =>
    [QUEUE, QUEUE + 1].map((number) => openQueue({ number, maxLength: 1024, failOpen: false })),
  );
  const listener = new Listener(queues, policy);
  cleanups.push(() => listener.close());
  return listener;
}

/** A TCP server that echoes; `accepted` are its ends of the connections. */
export async function echoServer(
  namespace: string,
  host: string,
  port: number,
): Promise<{ server: Server; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket);
    socket
      .on("error", () => {})
      .pipe(socket)
      .on("error", () => {});
  });
  cleanups.push(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  await within(namespace, () => once(server.listen(port, host), "listening"));
  return { server, accepted };
}

export type Outcome = "connected" | "silence" | string;

/** Tries to connect, from `localPort` if that matters; the socket is there when it worked. */
export async function dial(
  namespace: string,
  host: string,
  port: number,
  patience = 1500,
  localPort?: number,
): Promise<{ outcome: Outcome; socket: Socket }> {
  let socket: Socket | undefined;
  const outcome = within(namespace, () => {
    socket = connect({ host, port, ...(localPort === undefined ? {} : { localPort }) });
    socket.on("error", () => {});
    return once(socket, "connect").then(
      () => "connected",
      (error: NodeJS.ErrnoException) => error.code ?? "error",
    );
  });
  cleanups.push(() => socket?.destroy());
  const result = await Promise.race([outcome, sleep(patience).then(() => "silence")]);
  return { outcome: result, socket: socket! };
}

export function ended(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once("close", resolve));
}

export async function say(socket: Socket, text: string, patience = 1000): Promise<string> {
  socket.write(text);
  return Promise.race([
    once(socket, "data").then(
      ([data]) => String(data),
      (error: NodeJS.ErrnoException) => error.code ?? "error",
    ),
    sleep(patience).then(() => "silence"),
  ]);
}

export async function datagrams(
  namespace: string,
  kind: "udp4" | "udp6",
  host: string,
  port: number,
): Promise<DatagramSocket> {
  const socket = createSocket(kind);
  cleanups.push(() => socket.close());
  await within(namespace, () => once(socket.bind(port, host), "listening"));
  return socket;
}

export async function heard(socket: DatagramSocket, patience = 800): Promise<string> {
  return Promise.race([once(socket, "message").then(([data]) => String(data)), sleep(patience).then(() => "silence")]);
}

/** The random of a HelloRetryRequest, RFC 8446 §4.1.3. */
export const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** A record that begins with a ServerHello; each part can be another one. */
export function serverHello({
  type = 22,
  major = 3,
  record = 90,
  message = 2,
  high = 0,
  version = 0x0303,
  random = Buffer.alloc(32, "r"),
} = {}): Buffer {
  const head = [type, major, 3, 0, record, message, high, 0, 86, version >> 8, version & 0xff];
  return Buffer.concat([Buffer.from(head), random, Buffer.alloc(52, "x")]);
}

export const SYN_FLAG = 0x02;
export const URG_FLAG = 0x20;
const FIRST_PORT = 8000;
let nextPort = FIRST_PORT;

/** A port that no earlier test has used. */
export function freshPort(): number {
  return nextPort++;
}

/** The namespaces, and a ruleset in that of the node. */
export async function raiseStage(): Promise<void> {
  lowerNetwork();
  raiseNetwork();
  enter(NODE);
  try {
    expect(enableAccounting()).toEqual([]);
    ruleset = new Ruleset((command, input, timeout) => runInNode(command, input, timeout));
    conntrack = new Conntrack();
  } finally {
    leave();
  }
  spec = {
    markMask: 0x3f,
    method: await probeQueueMethod(runInNode),
    queueNumber: QUEUE,
    generation: 0,
    other: false,
    podLinks: [],
    failMode: "Closed",
    sets,
  };
  await ruleset.install(spec);
}

export async function carriedCount(): Promise<number> {
  return (await ruleset.counters()).get(CARRIED_COUNTER) ?? 0;
}

async function runInNode(command: readonly string[], input?: string, timeout?: number) {
  const { runProgram } = await import("../../src/kernel/program.ts");
  return runProgram(["ip", "netns", "exec", NODE, ...command], input, timeout);
}

/** What a test has left open. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export function lowerStage(): void {
  ruleset?.close();
  conntrack?.close();
  lowerNetwork();
}

export async function flowsInPieces(family: (typeof FAMILIES)[number], port: number): Promise<ConntrackEntry[]> {
  return within(NODE, () => {
    const found: ConntrackEntry[] = [];
    for (const _ of conntrack.dumpInPieces(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => {
      if (entry.original.destinationPort === port) found.push(entry);
    }));
    return found;
  });
}

export async function flows(family: (typeof FAMILIES)[number], port: number): Promise<ConntrackEntry[]> {
  const found: ConntrackEntry[] = [];
  conntrack.dump(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => {
    if (entry.original.destinationPort === port) found.push(entry);
  });
  return found;
}

export function udpPacket(
  source: string,
  destination: string,
  sourcePort: number,
  destinationPort: number,
  payload: Buffer,
): Uint8Array {
  return buildUdp({ source: address(source), destination: address(destination), sourcePort, destinationPort, payload });
}
