import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import type { Resolved } from "../inspector/contract.ts";
import { followChain, type Resolution } from "../inspector/dns/chain.ts";
import { type Address, formatAddress, isIPv4 } from "../net/address.ts";
import { DNS_TYPE, type DnsMessage, parseDnsMessage } from "../packet/dns.ts";
import { DnsStreamReader } from "../packet/dns-stream.ts";
import { LatencyHistogram } from "./metrics/latency.ts";

const ATTEMPT_MS = 400;
const CACHE_MOST = 4096;
const FAILURE_CACHE_MS = 1_000;
const CONCURRENT_MOST = 256;

const DNS_PORT = 53;

interface Server {
  readonly address: Address;
  readonly port: number;
}

interface Cached {
  readonly answer: Resolved;
  readonly until: number;
}

/**
 * The agent's own DNS client: asks the trusted resolvers for A and AAAA, so that an address can be bound to a name that
 * the workload has not looked up. Each question goes out from a socket of its own with a random port and id (RFC 5452),
 * to each resolver in turn; a truncated answer is asked for again over TCP. Answers are shared by all workloads, in a bounded cache.
 */
export class Resolver {
  #servers: readonly Address[];
  readonly #port: number;
  readonly #cache = new Map<string, Cached>();
  readonly #pending = new Map<string, Promise<Resolved>>();
  /** How long names took that had to be asked for. */
  readonly times = new LatencyHistogram();
  /** Names that no resolver answered for, neither A nor AAAA; and names not asked for because too many were under way. */
  failures = 0;
  refused = 0;

  constructor(servers: readonly Address[], port = DNS_PORT) {
    this.#servers = servers;
    this.#port = port;
  }

  setServers(servers: readonly Address[]): void {
    this.#servers = servers;
    this.#cache.clear();
  }

  /** Never rejects: a name without an answer has no addresses. */
  resolve(name: string): Promise<Resolved> {
    const cached = this.#cache.get(name);
    if (cached !== undefined && cached.until > performance.now()) return Promise.resolve(cached.answer);
    const pending = this.#pending.get(name);
    if (pending !== undefined) return pending;
    if (this.#pending.size >= CONCURRENT_MOST) {
      this.refused++;
      return Promise.resolve(nothing(name));
    }
    const question = this.#ask(name).finally(() => this.#pending.delete(name));
    this.#pending.set(name, question);
    return question;
  }

  async #ask(name: string): Promise<Resolved> {
    const asked = performance.now();
    const halves = await Promise.all([this.#askType(name, DNS_TYPE.A), this.#askType(name, DNS_TYPE.AAAA)]);
    const answered = halves.filter((half) => half !== null);
    this.times.add(performance.now() - asked);
    if (answered.length === 0) this.failures++;
    const answer: Resolved = {
      name,
      aliases: [...new Set(answered.flatMap((half) => half.aliases))],
      addresses: answered.flatMap((half) => half.addresses),
      ttl: Math.min(...answered.filter((half) => half.addresses.length > 0).map((half) => half.ttl), 3600),
    };
    const lifetime = answer.addresses.length > 0 ? Math.max(answer.ttl, 1) * 1000 : FAILURE_CACHE_MS;
    if (this.#cache.size >= CACHE_MOST) this.#cache.delete(this.#cache.keys().next().value as string);
    this.#cache.set(name, { answer, until: performance.now() + lifetime });
    return answer;
  }

  async #askType(name: string, type: number): Promise<Resolution | null> {
    for (const address of this.#servers) {
      const server = { address, port: this.#port };
      const id = randomInt(0x10000);
      const query = buildQuery(id, name, type);
      if (query === null) return null;
      const matches = (message: DnsMessage): boolean =>
        message.response && message.id === id && message.question?.name === name && message.question.type === type;
      let message = await askUdp(server, query, matches);
      if (message?.truncated) message = await askTcp(server, query, matches);
      if (message !== null && (message.rcode === 0 || message.rcode === 3)) return followChain(message, name);
    }
    return null;
  }
}

function nothing(name: string): Resolved {
  return { name, aliases: [], addresses: [], ttl: 0 };
}

type Matches = (message: DnsMessage) => boolean;

function askUdp(server: Server, query: Uint8Array, matches: Matches): Promise<DnsMessage | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv4(server.address) ? "udp4" : "udp6");
    let open = true;
    const finish = (message: DnsMessage | null): void => {
      if (!open) return;
      open = false;
      clearTimeout(timer);
      socket.close();
      resolve(message);
    };
    const timer = setTimeout(() => finish(null), ATTEMPT_MS);
    socket.on("error", () => finish(null));
    socket.on("message", (bytes) => {
      const message = parseDnsMessage(bytes, 0, bytes.length);
      if (message.kind === "message" && matches(message)) finish(message);
    });
    // A connected socket takes datagrams from that server only. Without a route to it the callback comes with an error.
    socket.connect(server.port, formatAddress(server.address), (error?: Error) => {
      if (error !== undefined && error !== null) finish(null);
      else if (open) socket.send(query);
    });
  });
}

function askTcp(server: Server, query: Uint8Array, matches: Matches): Promise<DnsMessage | null> {
  return new Promise((resolve) => {
    const socket = connect(server.port, formatAddress(server.address));
    const reader = new DnsStreamReader();
    const finish = (message: DnsMessage | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(message);
    };
    const timer = setTimeout(() => finish(null), ATTEMPT_MS);
    socket.on("error", () => finish(null));
    socket.on("close", () => finish(null));
    socket.on("connect", () =>
      socket.write(Buffer.concat([Uint8Array.of(query.length >> 8, query.length & 255), query])),
    );
    socket.on("data", (bytes) => {
      reader.push(bytes, 0, bytes.length);
      for (let frame = reader.next(); frame !== null; frame = reader.next()) {
        const copy = frame.message.slice();
        const message = parseDnsMessage(copy, 0, copy.length);
        if (message.kind === "message" && matches(message)) return finish(message);
      }
    });
  });
}

/** A query with RD and EDNS (RFC 1035 §4.1, RFC 6891): 1232 bytes of UDP payload. Null: not a name that can be asked. */
function buildQuery(id: number, name: string, type: number): Uint8Array | null {
  const labels = name === "" ? [] : name.split(".");
  if (labels.some((label) => label.length === 0 || label.length > 63) || name.length > 253) return null;
  const bytes = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
  for (const label of labels) bytes.push(label.length, ...Buffer.from(label, "latin1"));
  bytes.push(0, 0, type, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0);
  return Uint8Array.from(bytes);
}
