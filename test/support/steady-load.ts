import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";

/**
 * A client that opens new connections at a steady pace, whatever becomes of those before, and writes down how long each took:
 * TLS to a name that it resolved once, and a question to DNS with a TCP connection behind it; a datagram that is echoed, if asked for.
 * Words: rate a second, file of the report, resolver, TLS name, TLS address, name to ask for, TCP address, port[, UDP port there].
 */
export interface Attempt {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly ms: number;
  readonly kind: "tls" | "dns" | "tcp" | "udp";
  /** Empty: it went well. */
  readonly problem: string;
}

const LIMIT_MS = 8_000;
/** Below those that the kernel gives away by itself. */
const FIRST_UDP_PORT = 20_000;
const UDP_PORTS = 10_000;
const [rate, file, server, tlsName, tlsAddress, dnsName, tcpAddress, port, udpPort] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string?,
];
const attempts: Attempt[] = [];
/** All questions from one port, as c-ares and forwarders ask; never sent twice, so that a lost one shows. */
const socket = createSocket("udp4");
const asked = new Map<number, () => void>();
socket.on("message", (message) => asked.get(message.readUInt16BE(0))?.());
socket.connect(53, server);
await new Promise((resolve) => socket.once("connect", resolve));
let nextId = 1;
/** Goes on with time: nor do two of these clients, one after the other, use the same ones. */
let nextUdpPort = Math.floor((Date.now() / 1_000) * Number(rate));
const pending = new Set<Promise<void>>();

async function measured(kind: Attempt["kind"], work: () => Promise<unknown>): Promise<void> {
  const at = Date.now();
  const begun = performance.now();
  let problem = "";
  try {
    await work();
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  attempts.push({ at, ms: performance.now() - begun, kind, problem });
}

function opened(open: () => ReturnType<typeof connectTcp>, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = open();
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), LIMIT_MS);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    });
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

/** An A question (RFC 1035 §4.1). */
function ask(name: string): Promise<void> {
  const id = nextId++ & 0xffff;
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  const head = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer")), LIMIT_MS);
    asked.set(id, () => {
      clearTimeout(timer);
      asked.delete(id);
      resolve();
    });
    socket.send(Buffer.from([...head, ...labels, 0, 0, 1, 0, 1]));
  });
}

const tls = () =>
  opened(
    () => connectTls({ host: tlsAddress, port: 443, servername: tlsName, rejectUnauthorized: false }),
    "secureConnect",
  );
const tcp = () => opened(() => connectTcp({ host: tcpAddress, port: Number(port) }), "connect");

/** A flow of its own, from a port that none had lately. Sent again twice, as clients do: the echo server forks for each datagram, and may lose one by itself. */
function udp(): Promise<void> {
  const echoed = createSocket("udp4").bind(FIRST_UDP_PORT + (nextUdpPort++ % UDP_PORTS));
  const say = () => echoed.send("hello", Number(udpPort), tcpAddress);
  const timers: NodeJS.Timeout[] = [];
  return new Promise<void>((resolve, reject) => {
    timers.push(...[1_000, 2_000].map((ms) => setTimeout(say, ms)));
    timers.push(setTimeout(() => reject(new Error(`no answer to port ${echoed.address().port}`)), LIMIT_MS));
    echoed.on("error", reject).on("message", () => resolve());
    say();
  }).finally(() => {
    for (const timer of timers) clearTimeout(timer);
    echoed.close();
  });
}

async function dnsAndTcp(): Promise<void> {
  await measured("dns", () => ask(dnsName));
  await measured("tcp", tcp);
}

const works = [() => measured("tls", tls), dnsAndTcp, ...(udpPort === undefined ? [] : [() => measured("udp", udp)])];

function start(turn: number): void {
  const work = works[turn % works.length]!();
  pending.add(work);
  void work.then(() => pending.delete(work));
}

await ask(tlsName);
await ask(dnsName);
const begun = performance.now();
let turn = 0;
const clock = setInterval(() => {
  for (const due = ((performance.now() - begun) / 1_000) * Number(rate); turn < due; ) start(turn++);
}, 5);
process.once("SIGTERM", async () => {
  clearInterval(clock);
  await Promise.all(pending);
  writeFileSync(file, JSON.stringify(attempts));
  process.exit(0);
});
console.log("started");
