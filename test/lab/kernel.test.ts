import { execFileSync } from "node:child_process";
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Conntrack, ConntrackEndings, enableAccounting } from "../../src/kernel/conntrack.ts";
import type { ConntrackEntry } from "../../src/kernel/conntrack-entry.ts";
import { inPlace, markLayout, stateOf, withWord, wordOf } from "../../src/kernel/marks.ts";
import { probeQueueMethod, Ruleset } from "../../src/kernel/nftables.ts";
import { openQueue, type Queue } from "../../src/kernel/queue.ts";
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { CARRIED_COUNTER, type RulesetSpec } from "../../src/kernel/ruleset.ts";
import type { RulesetSets } from "../../src/kernel/ruleset-sets.ts";
import {
  ANSWER,
  FROM_SERVER,
  QUESTION,
  REMEMBERED_SHIFT,
  STATE,
  TO_RESOLVER,
  TRANSLATED,
} from "../../src/model/verdict.ts";
import { parseAddress } from "../../src/net/address.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { buildTcp } from "../../src/packet/build.ts";

const RUN = `spk-${process.pid}`;
const [STRICT, FREE, NODE, OUTSIDE] = ["strict", "free", "node", "out"].map((name) => `${RUN}-${name}`) as [
  string,
  string,
  string,
  string,
];
const QUEUE = 5100;
const LAYOUT = markLayout(0x3f);

/** The same story in both families. */
const FAMILIES = [
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

const address = (text: string) => parseAddress(text)!;
function cidr(text: string) {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
}

const sets: RulesetSets = {
  podRanges: [cidr("10.244.0.0/24"), cidr("fd00:244::/64")],
  workloads: FAMILIES.flatMap((family) => [address(family.strict), address(family.free)]),
  observed: FAMILIES.map((family) => address(family.free)),
  inside: [cidr("10.244.0.0/16"), cidr("10.96.0.0/16"), cidr("fd00:244::/48"), cidr("fd00:96::/64")],
  internalEndpoints: [],
  resolvers: FAMILIES.map((family) => address(family.service)),
  podInterfaces: ["strict", "free"],
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
function within<T>(namespace: string, body: () => T | Promise<T>): Promise<T> {
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

function sh(namespace: string, command: string): string {
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

interface Question {
  readonly flags: number;
  readonly observed: boolean;
  readonly size: number;
}
type Policy = (question: Question) => number;

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

const cleanups: (() => unknown)[] = [];
let ruleset: Ruleset;
let conntrack: Conntrack;
let spec: RulesetSpec;

async function listen(policy: Policy): Promise<Listener> {
  const queues = await within(NODE, () =>
    [QUEUE, QUEUE + 1].map((number) => openQueue({ number, maxLength: 1024, failOpen: false })),
  );
  const listener = new Listener(queues, policy);
  cleanups.push(() => listener.close());
  return listener;
}

/** A TCP server that echoes; `accepted` are its ends of the connections. */
async function echoServer(
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

type Outcome = "connected" | "silence" | string;

/** Tries to connect, from `localPort` if that matters; the socket is there when it worked. */
async function dial(
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

function ended(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once("close", resolve));
}

async function say(socket: Socket, text: string, patience = 1000): Promise<string> {
  socket.write(text);
  return Promise.race([
    once(socket, "data").then(
      ([data]) => String(data),
      (error: NodeJS.ErrnoException) => error.code ?? "error",
    ),
    sleep(patience).then(() => "silence"),
  ]);
}

async function datagrams(
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

async function heard(socket: DatagramSocket, patience = 800): Promise<string> {
  return Promise.race([once(socket, "message").then(([data]) => String(data)), sleep(patience).then(() => "silence")]);
}

/** The random of a HelloRetryRequest, RFC 8446 §4.1.3. */
const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** A record that begins with a ServerHello; each part can be another one. */
function serverHello({
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

const SYN_FLAG = 0x02;
const URG_FLAG = 0x20;
const FIRST_PORT = 8000;
let nextPort = FIRST_PORT;

beforeAll(async () => {
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
    failMode: "Closed",
    sets,
  };
  await ruleset.install(spec);
});

async function carriedCount(): Promise<number> {
  return (await ruleset.counters()).get(CARRIED_COUNTER) ?? 0;
}

async function runInNode(command: readonly string[], input?: string, timeout?: number) {
  const { runProgram } = await import("../../src/kernel/program.ts");
  return runProgram(["ip", "netns", "exec", NODE, ...command], input, timeout);
}

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(() => {
  ruleset?.close();
  conntrack?.close();
  lowerNetwork();
});

describe.each(FAMILIES)("$name", (family) => {
  test("without a listener an isolated workload waits, an observed one passes", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const strict = dial(STRICT, family.server, port, 700);
    const free = dial(FREE, family.server, port);
    expect((await strict).outcome).toBe("silence");
    expect((await free).outcome).toBe("connected");
  });

  test("allow: one question, then the kernel carries", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const { outcome, socket } = await dial(STRICT, family.server, port);
    expect(outcome).toBe("connected");
    for (const text of ["one", "two", "three"]) expect(await say(socket, text)).toBe(text);
    expect(listener.questions).toEqual([{ flags: 0, observed: false, size: expect.any(Number) }]);
  });

  test("an observed workload asks on its own queue", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    expect((await dial(FREE, family.server, port)).outcome).toBe("connected");
    expect(listener.questions.map((question) => question.observed)).toEqual([true]);
  });

  test("reject: the client is told at once", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    await listen(() => ANSWER.reject);
    const started = performance.now();
    expect((await dial(STRICT, family.server, port)).outcome).toBe("ECONNREFUSED");
    expect(performance.now() - started).toBeLessThan(500);
  });

  test("looking: both directions ask until it is decided", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    let decided = false;
    const listener = await listen(() => (decided ? ANSWER.allow : ANSWER.look));
    const { outcome, socket } = await dial(STRICT, family.server, port);
    expect(outcome).toBe("connected");
    expect(await say(socket, "hello")).toBe("hello");
    const looking = STATE.looking << REMEMBERED_SHIFT;
    const flags = listener.questions.map((question) => question.flags);
    expect(flags[0]).toBe(0);
    expect(flags).toContain(looking | FROM_SERVER);
    expect(flags).toContain(looking);
    decided = true;
    expect(await say(socket, "more")).toBe("more");
    await sleep(50);
    const before = listener.questions.length;
    expect(await say(socket, "again")).toBe("again");
    expect(listener.questions.length).toBe(before);
  });

  test("http: only the client's direction asks", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.http);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "GET")).toBe("GET");
    expect(listener.questions.every((question) => (question.flags & FROM_SERVER) === 0)).toBe(true);
    // The SYN and the request: bare acknowledgements go unasked.
    expect(listener.questions.length).toBe(2);
  });

  test("looking: the SYN-ACK goes unasked", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.look);
    const { socket } = await dial(STRICT, family.server, port);
    await sleep(50);
    expect(listener.questions.length).toBe(1);
    expect(await say(socket, "GET")).toBe("GET");
    // The request, and the answer.
    expect(listener.questions.length).toBe(3);
  });

  test("confirming: both directions ask, bare acknowledgements too", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.confirm);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "GET")).toBe("GET");
    // SYN, SYN-ACK, ACK; request, its acknowledgement or the answer that carries it.
    expect(listener.questions.length).toBeGreaterThanOrEqual(5);
    expect(listener.questions.some((question) => (question.flags & FROM_SERVER) !== 0)).toBe(true);
  });

  /** A flow in state `proving` to a server that echoes: what it says is what the client told it to. */
  async function proved(answer: number) {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => [ANSWER.look, ANSWER.prove][listener.questions.length - 1] ?? answer);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "hello")).toBe("hello");
    // The SYN, the hello, and what the server says, which is no record.
    expect(listener.questions.map(({ flags }) => flags & FROM_SERVER)).toEqual([0, 0, FROM_SERVER]);
    /** How many questions come of this, on its way there and back; and what is remembered then. */
    const asked = async (words: Buffer): Promise<[number, number]> => {
      const before = listener.questions.length;
      expect(await say(socket, words as never)).toBe(String(words));
      const [entry] = await flows(family, port);
      return [listener.questions.length - before, stateOf(LAYOUT, entry!.mark)];
    };
    return asked;
  }

  test("proving: a ServerHello hands the flow over unasked", async () => {
    const asked = await proved(ANSWER.pass);
    expect(await asked(Buffer.from("still the same"))).toEqual([2, STATE.proving]);
    expect(await asked(serverHello())).toEqual([1, STATE.allowed]);
    expect(await asked(Buffer.from("more"))).toEqual([0, STATE.allowed]);
  });

  test.each([
    ["a HelloRetryRequest", serverHello({ random: RETRY })],
    ["one whose record ends within its first bytes", serverHello({ record: 41 })],
    ["one of which half the random has not come", serverHello().subarray(0, 26)],
    ["another message", serverHello({ message: 1 })],
    ["a message of impossible length", serverHello({ high: 1 })],
    ["TLS 1.1", serverHello({ version: 0x0302 })],
    ["another record", serverHello({ type: 23 })],
    ["another protocol", serverHello({ major: 2 })],
    ["one behind other bytes", Buffer.concat([Buffer.of(22), serverHello()])],
  ])("proving: the agent is asked about %s", async (_, words) => {
    const asked = await proved(ANSWER.pass);
    expect(await asked(words)).toEqual([2, STATE.proving]);
  });

  test("proving ends when the agent wants to follow again, but not once the flow is handed over", async () => {
    const asked = await proved(ANSWER.unprove);
    expect(await asked(serverHello())).toEqual([2, STATE.looking]);
  });

  test("a flow marked rejected is reset at both ends", async () => {
    const port = nextPort++;
    const { accepted } = await echoServer(OUTSIDE, family.server, port);
    await listen(() => ANSWER.allow);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "one")).toBe("one");
    const entries = await flows(family, port);
    expect((await flowsInPieces(family, port)).map(({ id }) => id)).toEqual(entries.map(({ id }) => id));
    expect(entries.map((entry) => stateOf(LAYOUT, entry.mark))).toEqual([STATE.allowed]);
    expect(conntrack.setMark(entries[0]!.original, inPlace(LAYOUT, STATE.rejected), LAYOUT.mask)).toBe(true);
    const serverEnd = ended(accepted[0]!);
    accepted[0]!.write("are you there?");
    await serverEnd;
    expect(await say(socket, "two")).toBe("ECONNRESET");
  });

  test("a server that speaks into a lost entry is reset, and the pod does not pass as a reply", async () => {
    const port = nextPort++;
    const { accepted } = await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "one")).toBe("one");
    sh(NODE, `conntrack -D -f ${family.name.toLowerCase()} -p tcp --dport ${port} 2>/dev/null`);
    const closed = ended(accepted[0]!);
    accepted[0]!.write("hole?");
    await closed;
    listener.policy = () => ANSWER.reject;
    expect(await say(socket, "two")).toBe("ECONNRESET");
  });

  test("a SYN is asked whatever is remembered", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const first = await dial(STRICT, family.server, port, 1500, 40_000 + (port % 1000));
    expect(first.outcome).toBe("connected");
    first.socket.resetAndDestroy();
    await sleep(50);
    listener.policy = () => ANSWER.reject;
    const again = await dial(STRICT, family.server, port, 1500, 40_000 + (port % 1000));
    expect(again.outcome).toBe("ECONNREFUSED");
  });

  test("inbound flows and the node's own need no listener", async () => {
    const port = nextPort++;
    await echoServer(STRICT, family.strict, port);
    for (const from of [OUTSIDE, NODE]) {
      const { outcome, socket } = await dial(from, family.strict, port);
      expect(outcome).toBe("connected");
      expect(await say(socket, "called")).toBe("called");
    }
  });

  test("UDP: reject says so by ICMP, allow carries, a QUIC opening is asked again", async () => {
    const port = nextPort++;
    const server = await datagrams(OUTSIDE, family.udp, family.server, port);
    server.on("message", (data, peer) => server.send(data, peer.port, peer.address));
    const listener = await listen(() => ANSWER.reject);
    const client = createSocket(family.udp);
    cleanups.push(() => client.close());
    await within(STRICT, async () => {
      client.connect(port, family.server);
      await once(client, "connect");
    });
    const refused = once(client, "error");
    client.send("x");
    expect(["EHOSTUNREACH", "EACCES", "ECONNREFUSED"]).toContain(((await refused)[0] as NodeJS.ErrnoException).code);
    listener.policy = () => ANSWER.allow;
    client.send("one");
    expect(await heard(client)).toBe("one");
    const count = listener.questions.length;
    client.send("two");
    expect(await heard(client)).toBe("two");
    expect(listener.questions.length).toBe(count);
    client.send(Buffer.from("c300000001086162", "hex"));
    await heard(client);
    expect(listener.questions.at(-1)!.flags).toBe(STATE.allowed << REMEMBERED_SHIFT);
    expect(listener.questions.length).toBe(count + 1);
  });

  test("carry: the next connection of the pair goes unasked and is logged; no other does", async () => {
    const port = nextPort++;
    // Not among those that the listener takes for stragglers of other tests.
    const other = port + 7_000;
    for (const one of [port, other]) await echoServer(OUTSIDE, family.server, one);
    const listener = await listen(() => ANSWER.carry);
    const carried = await carriedCount();
    for (let n = 0; n < 3; n++) {
      const { outcome, socket } = await dial(STRICT, family.server, port);
      expect(outcome).toBe("connected");
      expect(await say(socket, "one")).toBe("one");
    }
    expect(listener.questions).toHaveLength(1);
    expect((await carriedCount()) - carried).toBe(2);
    expect((await flows(family, port)).map(({ mark }) => stateOf(LAYOUT, mark))).toEqual(Array(3).fill(STATE.allowed));
    await dial(STRICT, family.server, other);
    expect((await dial(FREE, family.server, port)).outcome).toBe("connected");
    expect(listener.questions.map(({ observed }) => observed)).toEqual([false, false, true]);
    listener.policy = () => ANSWER.reject;
    // Its element is five seconds old, and nothing made it younger.
    await sleep(5_500);
    expect((await dial(STRICT, family.server, port)).outcome).toBe("ECONNREFUSED");
  });

  test("carry: a SYN into an entry in which something is remembered is asked about, and so is an odd one", async () => {
    const port = nextPort++;
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.carry);
    const local = 41_000 + (port % 1000);
    await dial(STRICT, family.server, port);
    expect((await dial(STRICT, family.server, port, 1500, local)).outcome).toBe("connected");
    expect(listener.questions).toHaveLength(1);
    listener.policy = () => ANSWER.reject;
    const syn = (sourcePort: number, flags: number) =>
      within(STRICT, async () => {
        const sender = new RawSender(0);
        const ends = { source: parseAddress(family.strict)!, destination: parseAddress(family.server)! };
        sender.send(buildTcp({ ...ends, sourcePort, destinationPort: port, seq: 7, ack: 0, window: 1024, flags }));
        sender.close();
      });
    const asked = async (sourcePort: number, flags: number) => {
      const before = listener.questions.length;
      await syn(sourcePort, flags);
      await sleep(100);
      return listener.questions.length > before;
    };
    expect(await asked(local, SYN_FLAG)).toBe(true);
    expect(await asked(local + 500, SYN_FLAG | URG_FLAG)).toBe(true);
    expect(await asked(local + 501, SYN_FLAG)).toBe(false);
  });

  test("carry: the next datagram flow goes unasked; what could be QUIC does not", async () => {
    const port = nextPort++;
    const server = await datagrams(OUTSIDE, family.udp, family.server, port);
    server.on("message", (data, peer) => server.send(data, peer.port, peer.address));
    const listener = await listen(() => ANSWER.carry);
    const send = async (data: string | Buffer) => {
      const client = await datagrams(STRICT, family.udp, family.strict, 0);
      client.send(data, port, family.server);
      return heard(client);
    };
    expect([await send("one"), await send("two"), await send("")]).toEqual(["one", "two", ""]);
    expect(listener.questions).toHaveLength(1);
    for (const long of ["c300000001086162", "80ff00001d086162", "9a0a0a0a0a086162"])
      await send(Buffer.from(long, "hex"));
    expect(listener.questions).toHaveLength(4);
  });

  test("a query bears the address that was asked; its answer is known to come from there", async () => {
    const table = `${family.name.toLowerCase()}_service`;
    const kind = family.name === "IPv4" ? "ip" : "ip6";
    const target = family.name === "IPv4" ? `${family.server}:5353` : `[${family.server}]:5353`;
    sh(
      NODE,
      `nft 'table ${kind} ${table} { chain pre { type nat hook prerouting priority dstnat; ${kind} daddr ${family.service} udp dport 53 dnat to ${target}; }
    }'`,
    );
    cleanups.push(() => sh(NODE, `nft delete table ${kind} ${table}`));
    const server = await datagrams(OUTSIDE, family.udp, family.server, 5353);
    server.on("message", (_data, peer) => server.send("answer", peer.port, peer.address));
    const listener = await listen(() => ANSWER.look);
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    client.send("query", 53, family.service);
    expect(await heard(client)).toBe("answer");
    expect(listener.questions.map((question) => question.flags)).toEqual([
      TO_RESOLVER,
      TO_RESOLVER | TRANSLATED | FROM_SERVER | (STATE.looking << REMEMBERED_SHIFT),
    ]);
  });

  test("a late answer does not turn the flow around: the next query is asked as a query", async () => {
    const listener = await listen((question) => ((question.flags & FROM_SERVER) === 0 ? ANSWER.look : ANSWER.allow));
    const resolver = await datagrams(FREE, family.udp, family.free, 53);
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    const late = heard(client);
    resolver.send("late", client.address().port, family.strict);
    expect(await late).toBe("late");
    const query = heard(resolver);
    client.send("query", 53, family.free);
    expect(await query).toBe("query");
    expect(listener.questions).toEqual([
      { flags: FROM_SERVER, observed: false, size: expect.any(Number) },
      { flags: STATE.allowed << REMEMBERED_SHIFT, observed: false, size: expect.any(Number) },
    ]);
  });

  test("injected: a datagram from a foreign address reaches the pod and leaves no entry", async () => {
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    const sender = await within(NODE, () => new RawSender(inPlace(LAYOUT, ANSWER.injectedUntracked)));
    cleanups.push(() => sender.close());
    const packet = udpPacket(family.service, family.strict, 53, client.address().port, Buffer.from("NXDOMAIN"));
    const message = heard(client);
    expect(sender.send(packet)).toBe(true);
    expect(await message).toBe("NXDOMAIN");
    const entries: ConntrackEntry[] = [];
    conntrack.dump(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => entries.push(entry));
    expect(entries.filter((entry) => entry.original.destinationPort === client.address().port)).toEqual([]);
    expect(sender.send(new Uint8Array([0x60]))).toBe(false);
  });

  test("a borrowed address is dropped and counted", async () => {
    const before = await ruleset.counters();
    const sender = await within(STRICT, () => new RawSender(0));
    cleanups.push(() => sender.close());
    sender.send(udpPacket(family.free, family.server, 1234, 9999, Buffer.from("not me")));
    sender.send(
      udpPacket(
        family.name === "IPv4" ? "203.0.113.7" : "2001:db8:7::7",
        family.server,
        1234,
        9999,
        Buffer.from("nobody"),
      ),
    );
    await sleep(100);
    const after = await ruleset.counters();
    expect(after.get("spoofed")! - before.get("spoofed")!).toBe(1);
    expect(after.get("foreign")! - before.get("foreign")!).toBe(1);
  });
});

test("mark bits of others survive question and answer", async () => {
  sh(
    NODE,
    `nft 'table inet others { counter kept { }
    chain before { type filter hook forward priority -170; meta mark set 0x4002; }
    chain after { type filter hook forward priority -130; meta mark 0x4000 counter name kept; }
    }'`,
  );
  cleanups.push(() => sh(NODE, "nft delete table inet others"));
  const port = nextPort++;
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await listen(() => ANSWER.look);
  const { socket } = await dial(STRICT, "192.0.2.10", port);
  expect(await say(socket, "marked")).toBe("marked");
  expect(Number(/packets (\d+)/.exec(sh(NODE, "nft list counter inet others kept"))?.[1])).toBeGreaterThan(4);
});

test("endings carry counters and times", async () => {
  const endings = await within(NODE, () => new ConntrackEndings());
  cleanups.push(() => endings.close());
  const port = nextPort++;
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await listen(() => ANSWER.allow);
  const { socket } = await dial(STRICT, "192.0.2.10", port);
  await say(socket, "x".repeat(1000));
  sh(NODE, `conntrack -D -p tcp --dport ${port} 2>/dev/null`);
  await sleep(50);
  const seen: ConntrackEntry[] = [];
  expect(endings.drain((entry) => seen.push(entry))).toBeGreaterThan(0);
  const ours = seen.find((entry) => entry.original.destinationPort === port)!;
  expect(ours.original.source).toEqual(address("10.244.0.2"));
  expect(ours.originalCounters.bytes).toBeGreaterThan(1000);
  expect(ours.replyCounters.packets).toBeGreaterThan(1);
  expect(Math.abs(ours.start - Date.now())).toBeLessThan(60_000);
  expect(ours.stop).toBeGreaterThanOrEqual(ours.start);
});

test("a removed table, a flushed chain, emptied sets and flushed queue rules are noticed and put back", async () => {
  const damages = [
    "nft delete table inet sallyport",
    "nft flush chain inet sallyport from_pod",
    "nft flush set inet sallyport workloads4",
    ...(spec.method === "xtables" ? ["iptables-nft -t mangle -F FORWARD", "ip6tables-nft -t mangle -F"] : []),
  ];
  for (const damage of damages) {
    expect(await ruleset.verify(), `before ${damage}`).toBe(true);
    sh(NODE, damage);
    expect(await ruleset.restore(), damage).toBe(true);
  }
  sh(NODE, "nft add table inet somebody_else; nft delete table inet somebody_else");
  expect(await ruleset.restore()).toBe(false);
});

test("set updates isolate and release", async () => {
  const port = nextPort++;
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await ruleset.updateSets({ ...sets, observed: [] });
  expect((await dial(FREE, "192.0.2.10", port, 500)).outcome).toBe("silence");
  await ruleset.updateSets(sets);
  expect((await dial(FREE, "192.0.2.10", port)).outcome).toBe("connected");
});

test("statistics and refused verdicts are counted", async () => {
  const queue = await within(NODE, () => openQueue({ number: 77, maxLength: 10, failOpen: false }));
  cleanups.push(() => queue.close());
  expect(await within(NODE, () => queue.statistics())).toEqual({ waiting: 0, queueDropped: 0, userDropped: 0 });
  queue.verdict(12345, true, null);
  queue.verdict(12346, false, 1, new Uint8Array(40));
  queue.flush();
  expect(queue.receive()).toBe(0);
  expect(queue.counters.refusedVerdicts).toBe(2);
  await within(NODE, () => expect(() => openQueue({ number: 77, maxLength: 10, failOpen: false })).toThrow("`77`"));
});

test("remove leaves nothing behind", async () => {
  await ruleset.remove();
  expect(sh(NODE, "nft list tables | grep -c sallyport || true").trim()).toBe("0");
  expect(sh(NODE, "iptables-nft -t mangle -S; ip6tables-nft -t mangle -S")).not.toContain("SALLYPORT");
  await ruleset.install(spec);
});

async function flowsInPieces(family: (typeof FAMILIES)[number], port: number): Promise<ConntrackEntry[]> {
  return within(NODE, () => {
    const found: ConntrackEntry[] = [];
    for (const _ of conntrack.dumpInPieces(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => {
      if (entry.original.destinationPort === port) found.push(entry);
    }));
    return found;
  });
}

async function flows(family: (typeof FAMILIES)[number], port: number): Promise<ConntrackEntry[]> {
  const found: ConntrackEntry[] = [];
  conntrack.dump(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => {
    if (entry.original.destinationPort === port) found.push(entry);
  });
  return found;
}

/** A whole IP packet with a UDP checksum of its own. */
function udpPacket(
  source: string,
  destination: string,
  sourcePort: number,
  destinationPort: number,
  payload: Buffer,
): Uint8Array {
  const v4 = source.includes(".");
  const udp = Buffer.alloc(8 + payload.length);
  udp.writeUInt16BE(sourcePort, 0);
  udp.writeUInt16BE(destinationPort, 2);
  udp.writeUInt16BE(udp.length, 4);
  payload.copy(udp, 8);
  const ends = Buffer.concat([addressBytes(source), addressBytes(destination)]);
  const pseudo = Buffer.concat([ends, Buffer.from([0, 17, udp.length >> 8, udp.length & 255]), udp]);
  udp.writeUInt16BE(checksum(pseudo) || 0xffff, 6);
  const header = v4
    ? Buffer.from([0x45, 0, (20 + udp.length) >> 8, (20 + udp.length) & 255, 0, 0, 0x40, 0, 64, 17, 0, 0])
    : Buffer.from([0x60, 0, 0, 0, udp.length >> 8, udp.length & 255, 17, 64]);
  return Buffer.concat([header, ends, udp]);
}

function addressBytes(text: string): Buffer {
  const { w0, w1, w2, w3 } = address(text);
  const words = text.includes(".") ? [w3] : [w0, w1, w2, w3];
  const bytes = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word, index * 4);
  return bytes;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
