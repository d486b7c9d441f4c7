import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Resolver } from "../../../src/agent/resolver.ts";
import { formatAddress, parseAddress } from "../../../src/net/address.ts";
import { DNS_TYPE, parseDnsMessage } from "../../../src/packet/dns.ts";

/** A port on loopback, the same one on each address used here. */
const PORT = 20_000 + (process.pid % 20_000);

interface Question {
  readonly id: number;
  readonly type: number;
  /** The question section, as bytes. */
  readonly section: Buffer;
}

type Reply = (question: Question) => readonly Buffer[];

const open: (Socket | Server)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

function questionOf(bytes: Uint8Array): Question {
  const parsed = parseDnsMessage(bytes, 0, bytes.length);
  if (parsed.kind !== "message" || parsed.question === null) throw new Error("not a question");
  const { id, question } = parsed;
  const end = 12 + (question.name ?? "").length + 2 + 4;
  return { id, type: question.type, section: Buffer.from(bytes.subarray(12, end)) };
}

async function udp(host: string, reply: Reply): Promise<{ asked: number; ports: Set<number> }> {
  const socket = createSocket("udp4");
  open.push(socket);
  const seen = { asked: 0, ports: new Set<number>() };
  socket.on("message", (bytes, from) => {
    seen.asked++;
    seen.ports.add(from.port);
    for (const answer of reply(questionOf(bytes))) socket.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(PORT, host, resolve));
  return seen;
}

async function tcp(host: string, reply: Reply): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      for (const answer of reply(questionOf(bytes.subarray(2)))) {
        socket.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
      }
    });
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(PORT, host, resolve));
}

/** An answer with one address: `id` and `flags` as given, TTL 60. */
function answer(question: Question, last: number, options: { id?: number; flags?: number } = {}): Buffer {
  const { id = question.id, flags = 0x8180 } = options;
  const four = question.type === DNS_TYPE.A;
  const data = four ? Buffer.from([192, 0, 2, last]) : Buffer.from([0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), last]);
  const header = Buffer.from([id >> 8, id & 255, flags >> 8, flags & 255, 0, 1, 0, 1, 0, 0, 0, 0]);
  const record = Buffer.from([0xc0, 12, 0, question.type, 0, 1, 0, 0, 0, 60, 0, data.length]);
  return Buffer.concat([header, question.section, record, data]);
}

function empty(question: Question, rcode: number, flags = 0x8180): Buffer {
  const header = [question.id >> 8, question.id & 255, flags >> 8, (flags & 0xf0) | rcode, 0, 1, 0, 0, 0, 0, 0, 0];
  return Buffer.concat([Buffer.from(header), question.section]);
}

function resolver(...hosts: string[]): Resolver {
  return new Resolver(
    hosts.map((host) => parseAddress(host) ?? { w0: 0, w1: 0, w2: 0, w3: 0 }),
    PORT,
  );
}

async function addresses(of: Resolver, name = "api.example"): Promise<string[]> {
  return (await of.resolve(name)).addresses.map(formatAddress).sort();
}

describe("the agent's own resolver", () => {
  test("asks for both families and remembers for the TTL; each question from a port of its own", async () => {
    const seen = await udp("127.0.0.2", (question) => [answer(question, 7)]);
    const own = resolver("127.0.0.2");
    expect(await addresses(own)).toEqual(["192.0.2.7", "2001:db8::7"]);
    expect((await own.resolve("api.example")).ttl).toBe(60);
    expect(seen.asked).toBe(2);
    expect(seen.ports.size).toBe(2);
    await Promise.all([own.resolve("b.example"), own.resolve("b.example"), own.resolve("b.example")]);
    expect(seen.asked).toBe(4);
  });

  test("an answer with another id, another question or no answer bit is not believed", async () => {
    await udp("127.0.0.2", (question) => {
      const other = Buffer.from(question.section);
      other[1] = "x".charCodeAt(0);
      return [
        answer(question, 66, { id: question.id ^ 1 }),
        answer(question, 66, { flags: 0x0180 }),
        answer({ ...question, section: other }, 66),
        Buffer.from("rubbish"),
        answer(question, 7),
      ];
    });
    expect(await addresses(resolver("127.0.0.2"))).toEqual(["192.0.2.7", "2001:db8::7"]);
  });

  test("a truncated answer is asked for again over TCP", async () => {
    await udp("127.0.0.2", (question) => [empty(question, 0, 0x8380)]);
    await tcp("127.0.0.2", (question) => [answer(question, 8)]);
    expect(await addresses(resolver("127.0.0.2"))).toEqual(["192.0.2.8", "2001:db8::8"]);
  });

  test("a dead, a failing and an unreachable server cost little; the next one answers", async () => {
    await udp("127.0.0.3", (question) => [empty(question, 2)]);
    await udp("127.0.0.4", (question) => [answer(question, 9)]);
    await udp("127.0.0.5", () => []);
    const begun = performance.now();
    expect(await addresses(resolver("127.0.0.9", "2001:db8::1", "127.0.0.3", "127.0.0.5", "127.0.0.4"))).toEqual([
      "192.0.2.9",
      "2001:db8::9",
    ]);
    expect(performance.now() - begun).toBeLessThan(1_500);
  });

  test("no answer at all is no addresses, in bounded time, and asked again soon", async () => {
    const seen = await udp("127.0.0.2", () => []);
    const own = resolver("127.0.0.2");
    const begun = performance.now();
    expect(await addresses(own)).toEqual([]);
    expect(performance.now() - begun).toBeLessThan(900);
    await own.resolve("api.example");
    expect(seen.asked).toBe(2);
  });

  test("a name that does not exist is an answer; one that cannot be asked is none", async () => {
    const seen = await udp("127.0.0.2", (question) => [empty(question, 3)]);
    const own = resolver("127.0.0.2");
    expect(await addresses(own, "gone.example")).toEqual([]);
    expect(seen.asked).toBe(2);
    expect(await addresses(own, `${"a".repeat(64)}.example`)).toEqual([]);
    expect(await addresses(own, "a..example")).toEqual([]);
    expect(seen.asked).toBe(2);
  });

  test("servers may be replaced, and what the old ones said is forgotten", async () => {
    await udp("127.0.0.2", (question) => [answer(question, 1)]);
    await udp("127.0.0.3", (question) => [answer(question, 2)]);
    const own = resolver("127.0.0.2");
    expect(await addresses(own)).toContain("192.0.2.1");
    own.setServers([parseAddress("127.0.0.3") ?? { w0: 0, w1: 0, w2: 0, w3: 0 }]);
    expect(await addresses(own)).toContain("192.0.2.2");
  });
});
