/**
 * What the packet lane's own code takes, without the kernel: `node bench/inspector.ts [CASE]`. Packets of four kinds are
 * handed to the inspector; then its records go through the ring and become lines of the flow log. Nanoseconds of
 * processor time, so that a neighbour on the machine hardly counts. Under `node --cpu-prof` it shows where they go.
 */

import type { FlowEvent } from "../src/flow/event.ts";
import { LineWriter } from "../src/flow/line-writer.ts";
import { LiveFlows } from "../src/flow/live-flows.ts";
import { createRing, RingReader, RingWriter } from "../src/flow/ring.ts";
import type { Commands } from "../src/inspector/contract.ts";
import { DnsGuard } from "../src/inspector/dns/guard.ts";
import { Inspector } from "../src/inspector/inspector.ts";
import { ANSWER, FROM_SERVER, QUESTION, REMEMBERED_SHIFT, STATE, TO_RESOLVER } from "../src/model/verdict.ts";
import { NameTable } from "../src/names/table.ts";
import { buildTcp, buildUdp } from "../src/packet/build.ts";
import { TCP_FLAG } from "../src/packet/tcp.ts";
import { address, agentConfig, compileScene, policy, rule, workload } from "../test/support/cases.ts";
import { clientHello } from "./wire.ts";

interface Sent {
  readonly question: number;
  readonly bytes: Uint8Array;
}

const NAME = "api.github.com";
const POD = address("10.244.0.1");
const SERVER = address("203.0.113.80");
const PARTNER = address("203.0.113.22");
const RESOLVER = address("192.0.2.53");
const LOOKING = STATE.looking << REMEMBERED_SHIFT;
const HTTP = STATE.http << REMEMBERED_SHIFT;
const CLIENT_ISN = 1000;
const SERVER_ISN = 7000;
const HTTP_REPLY = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
const { syn: SYN, ack: ACK, psh: PSH } = TCP_FLAG;

const filler = Array.from({ length: 20 }, (_, i) =>
  rule(`other-${i}`, "Allow", { domains: [`*.site${i}.example`], ports: ["TCP 443"] }),
);
const program = compileScene({
  policies: [
    policy("bench", [
      ...filler,
      rule("tls", "Allow", { domains: ["*.github.com"], ports: ["TCP 443"] }),
      rule("http", "Allow", {
        domains: ["*.github.com"],
        ports: ["TCP 80"],
        paths: [{ kind: "prefix", value: "/v1/" }],
      }),
      rule("partner", "Allow", { cidrs: ["203.0.113.22/32"], ports: ["UDP 9000"] }),
    ]),
  ],
  workloads: [workload(1, "team/app", { addresses: [POD] })],
  config: { resolvers: [RESOLVER] },
});

function segment(
  fromServer: boolean,
  ports: readonly [number, number],
  at: number,
  flags: number,
  payload?: Uint8Array,
): Uint8Array {
  const [client, server] = ports;
  const base = fromServer ? SERVER_ISN : CLIENT_ISN;
  return buildTcp({
    ...(fromServer ? { source: SERVER, destination: POD } : { source: POD, destination: SERVER }),
    ...(fromServer ? { sourcePort: server, destinationPort: client } : { sourcePort: client, destinationPort: server }),
    seq: (base + 1 + at) >>> 0,
    ack: flags === SYN ? 0 : fromServer ? CLIENT_ISN + 1 : SERVER_ISN + 1,
    flags,
    window: 65535,
    ...(payload === undefined ? {} : { payload }),
  });
}

/** The server's first bytes, which acknowledge all that the client has sent. */
function answer(client: number, server: number, acknowledged: number, payload: Uint8Array): Uint8Array {
  return buildTcp({
    ...{ source: SERVER, destination: POD, sourcePort: server, destinationPort: client, payload },
    ...{ seq: SERVER_ISN + 1, ack: CLIENT_ISN + 1 + acknowledged, flags: ACK | PSH, window: 65535 },
  });
}

function opening(ports: readonly [number, number]): Sent[] {
  return [
    { question: 0, bytes: segment(false, ports, -1, SYN) },
    { question: FROM_SERVER | LOOKING, bytes: segment(true, ports, -1, SYN | ACK) },
    { question: LOOKING, bytes: segment(false, ports, 0, ACK) },
  ];
}

function requests(count: number): Sent[] {
  const text = `GET /v1/items/42?page=1 HTTP/1.1\r\nHost: ${NAME}\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nX-Request-Id: 7b1f0c52-6f0e-4f5e-9d0b-3e2a1c9d8e7f\r\n\r\n`;
  const bytes = new TextEncoder().encode(text);
  const ports = [40000, 80] as const;
  const sent = opening(ports);
  for (let i = 0; i < count; i++) {
    const question = i === 0 ? LOOKING : HTTP;
    sent.push({ question, bytes: segment(false, ports, i * bytes.length, ACK | PSH, bytes) });
    if (i === 0) sent.push({ question: FROM_SERVER | LOOKING, bytes: answer(ports[0], 80, bytes.length, HTTP_REPLY) });
  }
  return sent;
}

/** What the kernel asks about: bare SYN-ACKs and ACKs pass unasked, and a ServerHello hands the flow over (ADR 0011, 0013). */
async function connections(count: number): Promise<Sent[]> {
  const hello = await clientHello(NAME, "X25519:P-256");
  const sent: Sent[] = [];
  for (let i = 0; i < count; i++) {
    const ports = [1024 + i, 443] as const;
    sent.push(opening(ports)[0]!, { question: LOOKING, bytes: segment(false, ports, 0, ACK | PSH, hello) });
  }
  return sent;
}

function datagrams(count: number): Sent[] {
  return Array.from({ length: count }, (_, i) => ({
    question: 0,
    bytes: buildUdp({
      ...{ source: POD, destination: PARTNER, sourcePort: 1024 + i, destinationPort: 9000 },
      payload: new Uint8Array(16),
    }),
  }));
}

function questions(count: number): Sent[] {
  return Array.from({ length: count }, (_, i) => {
    const labels = [`q${String(i % 1000).padStart(6, "0")}`, "github", "com", ""];
    const name = labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
    const ask = [i >> 8, i & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 1, 0, 1];
    const reply = [...ask, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9];
    reply[2] = 0x81;
    reply[3] = 0x80;
    reply[7] = 1;
    const port = 20_000 + (i % 64);
    const from = { source: POD, destination: RESOLVER, sourcePort: port, destinationPort: 53 };
    const back = { source: RESOLVER, destination: POD, sourcePort: 53, destinationPort: port };
    return [
      { question: TO_RESOLVER, bytes: buildUdp({ ...from, payload: new Uint8Array(ask) }) },
      { question: FROM_SERVER | TO_RESOLVER, bytes: buildUdp({ ...back, payload: new Uint8Array(reply) }) },
    ];
  }).flat();
}

/** Runs all packets through a fresh inspector; nanoseconds a packet, and what was recorded. */
function inspect(sent: readonly Sent[]): { nanoseconds: number; records: FlowEvent[]; answers: Map<number, number> } {
  const records: FlowEvent[] = [];
  const answers = new Map<number, number>();
  const commands: Commands = {
    verdict: (_, answer) => void answers.set(answer, (answers.get(answer) ?? 0) + 1),
    inject: () => undefined,
    resolve: () => undefined,
    record: (event) => void records.push(event),
    end: () => undefined,
    doubt: () => undefined,
  };
  const config = agentConfig({ resolvers: [RESOLVER] });
  const names = new NameTable({ bindingsPerWorkload: 4096 });
  const dns = new DnsGuard({
    names,
    dnsDenial: "NXDomain",
    clusterDomain: "cluster.local",
    limits: { pendingQuestions: 512 },
  });
  const options = { program, names, dns, config, commands, adopting: false, seed: 7, firstFlowId: 1, run: "bench" };
  const inspector = new Inspector(options);
  const now = 1_000_000;
  names.learn(1, NAME, [], [SERVER], 300, now);
  const begun = process.cpuUsage();
  for (const [id, { question, bytes }] of sent.entries()) {
    inspector.packet(
      { id, question: QUESTION | question, bytes, start: 0, end: bytes.length, observed: false },
      now + id / 100,
    );
  }
  const nanoseconds = (process.cpuUsage(begun).user * 1000) / sent.length;
  return { nanoseconds, records, answers };
}

/** The way of records from the lane to the log: written to the ring; read, kept as an open flow, made a line. The whole of it: bench/records.ts */
function recordCosts(events: readonly FlowEvent[]): { write: number; read: number } {
  const ring = createRing(1 << 22);
  const writer = new RingWriter(ring);
  const reader = new RingReader(ring);
  const live = new LiveFlows({ total: 1_000_000, perWorkload: 65_536 });
  const lines = new LineWriter();
  const page = { bytes: new Uint8Array(1 << 16), length: 0 };
  const owner = workload(1, "team/app", { addresses: [POD], labels: { app: "client", tier: "bench" } });
  const spent = { write: 0, read: 0 };
  const timed = (part: keyof typeof spent, run: () => void) => {
    const begun = process.cpuUsage();
    run();
    spent[part] += process.cpuUsage(begun).user * 1000;
  };
  const step = 2000;
  for (let at = 0; at < events.length; at += step) {
    const some = events.slice(at, at + step);
    timed("write", () => {
      for (const event of some) writer.write(event);
    });
    timed("read", () => {
      for (let event = reader.read(); event !== null; event = reader.read()) {
        live.opened(event);
        page.length = 0;
        lines.event(page, event, owner, "bench");
      }
    });
  }
  const each = (total: number) => total / Math.max(1, events.length);
  return { write: each(spent.write), read: each(spent.read) };
}

const CASES: Readonly<Record<string, () => Promise<Sent[]> | Sent[]>> = {
  "http: a request on a kept connection": () => requests(60_000),
  "tls: a packet of a new connection (2 each)": () => connections(30_000),
  "udp: the first packet of a flow by address": () => datagrams(60_000),
  "dns: a question or its answer": () => questions(60_000),
};

for (const [title, build] of Object.entries(CASES)) {
  if (process.argv[2] !== undefined && !title.startsWith(`${process.argv[2]}:`)) continue;
  const sent = await build();
  // The first pass is the compiler's.
  inspect(sent);
  const { nanoseconds, records, answers } = inspect(sent);
  recordCosts(records);
  const costs = recordCosts(records);
  const words = Object.entries(ANSWER).filter(([, value]) => answers.has(value));
  const said = words.map(([word, value]) => `${word} ${answers.get(value)}`);
  const dropped = answers.get(0) ?? 0;
  console.log(
    `${title.padEnd(46)} ${nanoseconds.toFixed(0).padStart(6)} ns  (${said.join(", ")}${dropped > 0 ? `, DROP ${dropped}` : ""})`,
  );
  const parts = Object.entries(costs).map(([part, value]) => `${part} ${value.toFixed(0)}`);
  console.log(
    `${"".padEnd(46)} a record (${(records.length / sent.length).toFixed(2)} a packet), ns: ${parts.join(", ")}`,
  );
}
