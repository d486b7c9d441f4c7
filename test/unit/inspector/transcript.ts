import type { FlowEvent, FlowTuple } from "../../../src/flow/event.ts";
import { CarriedPairs } from "../../../src/inspector/carried-pairs.ts";
import { type Commands, DROP, type ResolveRequest, UNASKED } from "../../../src/inspector/contract.ts";
import { DnsGuard } from "../../../src/inspector/dns/guard.ts";
import { Inspector } from "../../../src/inspector/inspector.ts";
import { RequestBoundaries } from "../../../src/inspector/request-boundaries.ts";
import type { AgentConfig } from "../../../src/model/config.ts";
import { ANSWER, FROM_SERVER, QUESTION, REMEMBERED_SHIFT, STATE, TO_RESOLVER } from "../../../src/model/verdict.ts";
import { NameTable } from "../../../src/names/table.ts";
import type { Address } from "../../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../../src/packet/build.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";
import { newTcpSegment, parseTcp, TCP_FLAG } from "../../../src/packet/tcp.ts";
import type { Program } from "../../../src/program/program.ts";
import { address, agentConfig, compileScene, labels, policy, rule, workload } from "../../support/cases.ts";
import { ascii } from "../../support/hello.ts";

const WORDS = Object.fromEntries(Object.entries(ANSWER).map(([word, value]) => [value, word]));

const PASSES = new Set(["pass", "look", "confirm", "allow", "http", "prove", "unprove", "carry", "tell"]);

/** The policies that every transcript runs under. */
const selects = (app: string) => ({ namespaceSelector: null, podSelector: labels({ app }), serviceAccounts: null });

export const WEB = "203.0.113.80";
export const OTHER = "203.0.113.99";
export const SSH = "203.0.113.22";
export const RESOLVER = "192.0.2.53";
export const APP = "10.244.0.1";
export const PLAIN = "10.244.0.2";
export const WATCHED = "10.244.0.3";
export const GUARDED = "10.244.0.4";
export const APP6 = "fd00::1";
export const WEB6 = "2001:db8::80";

export function scene(extra: readonly ReturnType<typeof policy>[] = []) {
  return {
    policies: [
      policy(
        "app",
        [
          rule("github", "Allow", { domains: ["*.github.com"], ports: ["TCP 443", "TCP 80", "TCP 8443"] }),
          rule("api", "Allow", {
            domains: ["api.example.com"],
            ports: ["TCP 80"],
            methods: ["GET", "POST"],
            paths: [{ kind: "prefix", value: "/ok" }],
          }),
          rule("mail", "Allow", { domains: ["mail.example.com"], ports: ["TCP 25"] }),
          rule("dns", "Allow", { domains: ["dns.example.com"], ports: ["UDP 5300"] }),
          rule("partner", "Allow", { cidrs: ["203.0.113.22/32"], ports: ["TCP 22"] }),
          rule("pinged", "Allow", { cidrs: ["203.0.113.22/32"], ports: ["ICMP"] }),
          rule("anything", "Allow", { cidrs: ["203.0.113.77/32"], ports: ["TCP 80", "UDP 443"] }),
        ],
        { priority: 10, subject: selects("app") },
      ),
      policy("watch", [rule("github", "Allow", { domains: ["*.github.com"], ports: ["TCP 443"] })], {
        priority: 20,
        subject: selects("watched"),
        mode: "Audit",
      }),
      policy("guardrail", [rule("no-evil", "Deny", { domains: ["evil.example.com"], ports: ["TCP 443"] })], {
        priority: 30,
        subject: selects("guarded"),
        defaultDeny: false,
      }),
      ...extra,
    ],
    workloads: [
      workload(1, "ns/app", { labels: { app: "app" }, addresses: [address(APP), address(APP6)] }),
      workload(2, "ns/plain", { addresses: [address(PLAIN)] }),
      workload(3, "ns/watched", { labels: { app: "watched" }, addresses: [address(WATCHED)] }),
      workload(4, "ns/guarded", { labels: { app: "guarded" }, addresses: [address(GUARDED)] }),
    ],
    config: { resolvers: [address(RESOLVER)] },
  };
}

export interface TranscriptOptions {
  readonly program?: Program;
  readonly adopting?: boolean;
  readonly limits?: Partial<AgentConfig["limits"]>;
  /** Of request boundaries; another transcript with the same memory is the agent after this one. */
  readonly memory?: ArrayBuffer;
  /** The kernel may open flows by itself. */
  readonly carrying?: boolean;
}

/** An inspector whose commands are written down. Time only passes when `at` says so. */
export class Transcript {
  readonly inspector: Inspector;
  readonly names: NameTable;
  readonly verdicts = new Map<number, string[]>();
  readonly records: FlowEvent[] = [];
  readonly injected: { packet: Uint8Array; towards: string }[] = [];
  readonly resolves: ResolveRequest[] = [];
  readonly ended: FlowTuple[] = [];
  readonly doubted: FlowTuple[] = [];
  readonly carried: CarriedPairs | null;
  readonly told: CarriedPairs | null;
  readonly replacements = new Map<number, Uint8Array>();
  /** Packets that got away towards their receiver, in the order of their verdicts. */
  readonly passed: number[] = [];
  readonly sent = new Map<number, Uint8Array>();
  now = 1_000_000;
  #nextId = 1;

  constructor(options: TranscriptOptions = {}) {
    const base = agentConfig({ resolvers: [address(RESOLVER)] });
    const config = { ...base, limits: { ...base.limits, ...options.limits } };
    this.carried = options.carrying === true ? new CarriedPairs(7, 5_000) : null;
    this.told = options.carrying === true ? new CarriedPairs(7, 100) : null;
    this.names = new NameTable({ bindingsPerWorkload: 1000 });
    const dns = new DnsGuard({
      names: this.names,
      dnsDenial: "NXDomain",
      clusterDomain: "cluster.local",
      limits: { pendingQuestions: 100 },
    });
    this.inspector = new Inspector({
      program: options.program ?? compileScene(scene()),
      names: this.names,
      dns,
      config,
      commands: this.#commands(),
      adopting: options.adopting ?? false,
      seed: 7,
      carried: this.carried,
      told: this.told,
      boundaries: options.memory === undefined ? null : new RequestBoundaries(options.memory, 16),
    });
  }

  #commands(): Commands {
    return {
      verdict: (id, answer, replacement) => {
        const word = answer === DROP || answer === UNASKED ? "drop" : WORDS[answer]!;
        const list = this.verdicts.get(id) ?? [];
        list.push(word);
        this.verdicts.set(id, list);
        if (replacement !== null) this.replacements.set(id, replacement);
        if (PASSES.has(word)) this.passed.push(id);
      },
      inject: (packet, towards) => this.injected.push({ packet, towards }),
      resolve: (request) => this.resolves.push(request),
      record: (event) => this.records.push(event),
      end: (flow) => this.ended.push(flow),
      doubt: (flows) => this.doubted.push(...flows),
    };
  }

  /** Hands a packet in; gives its id. */
  send(bytes: Uint8Array, question = 0, observed = false): number {
    const id = this.#nextId++;
    this.sent.set(id, bytes);
    // In the middle of a larger buffer that is overwritten afterwards: packets are borrowed.
    const buffer = new Uint8Array(bytes.length + 64).fill(0xee);
    buffer.set(bytes, 32);
    this.inspector.packet(
      { id, question: QUESTION | question, bytes: buffer, start: 32, end: 32 + bytes.length, observed },
      this.now,
    );
    buffer.fill(0xdd);
    return id;
  }

  /** The kernel has opened a flow: it logs the first bytes of its first packet. */
  opened(protocol: "TCP" | "UDP", to: string, port: number, from = APP): void {
    const ends = { source: address(from), destination: address(to), sourcePort: 40001, destinationPort: port };
    const packet =
      protocol === "UDP"
        ? buildUdp({ ...ends, payload: ascii("x".repeat(99)) })
        : buildTcp({ ...ends, seq: 1, ack: 0, flags: TCP_FLAG.syn, window: 65535, payload: ascii("") });
    this.inspector.opened(packet, 0, Math.min(48, packet.length), this.now);
  }

  /**
   * The verdict of a packet; `held` while there is none. More than one is joined, so that no test takes it for one. Whether a packet that
   * passes begins or ends a proof is told by `exactly`.
   */
  of(id: number): string {
    return this.exactly(id).replace(/\b(un)?prove\b/g, "pass");
  }

  exactly(id: number): string {
    return this.verdicts.get(id)?.join("+") ?? "held";
  }

  wait(milliseconds: number): void {
    this.now += milliseconds;
    this.inspector.tick(this.now);
  }

  bind(name: string, to: string, workloadId = 1, aliases: readonly string[] = []): void {
    this.names.learn(workloadId, name, aliases, [address(to)], 300, this.now);
  }

  get last(): FlowEvent {
    return this.records[this.records.length - 1]!;
  }

  /** `Allow github RuleMatched` */
  get outcome(): string {
    const { action, rule: of, reason } = this.last.decision;
    return `${action} ${of ?? "-"} ${reason}`;
  }

  /** Text of what was injected towards one end, RSTs as `RST`. */
  said(towards: string): string[] {
    return this.injected.filter((one) => one.towards === towards).map((one) => describe(one.packet));
  }

  talk(options: TalkOptions = {}): Talk {
    return new Talk(this, options);
  }

  udp(
    to: string,
    port: number,
    payload: Uint8Array | string,
    options: { from?: string; remembered?: number; sourcePort?: number } = {},
  ): number {
    const bytes = typeof payload === "string" ? ascii(payload) : payload;
    const parts = {
      source: address(options.from ?? APP),
      destination: address(to),
      sourcePort: options.sourcePort ?? 40000,
      destinationPort: port,
      payload: bytes,
    };
    const resolver = to === RESOLVER && port === 53 ? TO_RESOLVER : 0;
    return this.send(buildUdp(parts), resolver | ((options.remembered ?? 0) << REMEMBERED_SHIFT));
  }
}

function describe(bytes: Uint8Array): string {
  const packet = newPacket();
  const segment = newTcpSegment();
  if (!parsePacket(bytes, 0, bytes.length, packet)) return "?";
  if (!parseTcp(packet, segment)) return "udp";
  if ((segment.flags & TCP_FLAG.rst) !== 0) return `RST ${segment.seq}`;
  return String.fromCharCode(...bytes.subarray(segment.payloadStart, segment.payloadEnd));
}

export interface TalkOptions {
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly sourcePort?: number;
  readonly isn?: number;
  readonly window?: number;
}

export interface SegmentOptions {
  /** Offset from the first byte after the SYN; default: what comes next. */
  readonly at?: number;
  readonly flags?: number;
  readonly ack?: number;
  readonly ttl?: number;
  readonly options?: Uint8Array;
  readonly badChecksum?: boolean;
}

/** MSS, SACK permitted, time stamps, window scale. */
export const LINUX_SYN = Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7);

function whole(packet: Uint8Array): [Uint8Array, number, number] {
  return [packet, 0, packet.length];
}

/** One TCP connection, both ends. */
export class Talk {
  readonly #transcript: Transcript;
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly port: number;
  readonly isn: number;
  readonly serverIsn = 7_000_000;
  readonly #window: number;
  readonly #resolver: number;
  remembered: number = STATE.none;
  clientNext = 0;
  serverNext = 0;
  clientAck = 0;

  constructor(transcript: Transcript, options: TalkOptions) {
    this.#transcript = transcript;
    this.source = address(options.from ?? APP);
    this.destination = address(options.to ?? WEB);
    this.sourcePort = options.sourcePort ?? 50000;
    this.port = options.port ?? 443;
    this.isn = options.isn ?? 1000;
    this.#window = options.window ?? 65535;
    this.#resolver = options.to === RESOLVER && this.port === 53 ? TO_RESOLVER : 0;
  }

  syn(payload: Uint8Array | string = ""): number {
    return this.client(payload, { at: -1, flags: TCP_FLAG.syn, ack: 0 });
  }

  /** The kernel lets the SYN pass, and tells of it. */
  toldSyn(): void {
    const ends = { source: this.source, destination: this.destination };
    const ports = { sourcePort: this.sourcePort, destinationPort: this.port };
    const flags = { seq: this.isn, ack: 0, flags: TCP_FLAG.syn, window: 65535, options: LINUX_SYN };
    this.#transcript.inspector.told(...whole(buildTcp({ ...ends, ...ports, ...flags })), this.#transcript.now);
    this.remembered = STATE.looking;
  }

  synAck(): number {
    const id = this.server("", { at: -1, flags: TCP_FLAG.syn | TCP_FLAG.ack, ack: 0 });
    return id;
  }

  /** SYN, SYN-ACK and ACK; the ids of the three. */
  open(): number[] {
    const syn = this.syn();
    this.remembered = STATE.looking;
    return [syn, this.synAck(), this.client("")];
  }

  client(payload: Uint8Array | string, options: SegmentOptions = {}): number {
    const bytes = typeof payload === "string" ? ascii(payload) : payload;
    const at = options.at ?? this.clientNext;
    if (options.at === undefined) this.clientNext += bytes.length;
    const packet = buildTcp({
      source: this.source,
      destination: this.destination,
      sourcePort: this.sourcePort,
      destinationPort: this.port,
      seq: (this.isn + 1 + at) >>> 0,
      ack: (options.ack ?? this.serverIsn + 1 + this.serverNext) >>> 0,
      flags: options.flags ?? TCP_FLAG.ack | TCP_FLAG.psh,
      window: 65535,
      payload: bytes,
      ...(options.options ? { options: options.options } : {}),
      ...(options.ttl ? { ttl: options.ttl } : {}),
    });
    if (options.badChecksum) packet[packet.length - 1] = packet[packet.length - 1]! ^ 0xff;
    return this.#transcript.send(packet, this.#resolver | (this.remembered << REMEMBERED_SHIFT));
  }

  server(payload: Uint8Array | string, options: SegmentOptions = {}): number {
    const bytes = typeof payload === "string" ? ascii(payload) : payload;
    const at = options.at ?? this.serverNext;
    if (options.at === undefined) this.serverNext += bytes.length;
    const packet = buildTcp({
      source: this.destination,
      destination: this.source,
      sourcePort: this.port,
      destinationPort: this.sourcePort,
      seq: (this.serverIsn + 1 + at) >>> 0,
      ack: (this.isn + 1 + (options.ack ?? this.clientAck)) >>> 0,
      flags: options.flags ?? TCP_FLAG.ack | TCP_FLAG.psh,
      window: this.#window,
      payload: bytes,
    });
    return this.#transcript.send(packet, FROM_SERVER | this.#resolver | (this.remembered << REMEMBERED_SHIFT));
  }

  /** The server acknowledges everything up to `offset`. */
  acknowledge(offset = this.clientNext, payload: Uint8Array | string = ""): number {
    this.clientAck = offset;
    return this.server(payload);
  }

  fin(): number {
    return this.client("", { flags: TCP_FLAG.fin | TCP_FLAG.ack });
  }
}
