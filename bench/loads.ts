/** The loads: what is sent, how much of it at a time, and what of the answer is the measure. */
import { POOL } from "../src/lab/addresses.ts";
import type { Lab } from "../src/lab/lab.ts";
import type { LoopAnswer } from "./queue-loop.ts";
import { redirectTo } from "./rivals.ts";
import { PARTNER, PORTS, RESPONDER, type Stage, tool } from "./stage.ts";
import type { WireName } from "./wire.ts";

/** `queue`: behind the gate's own ruleset a loop in C accepts every packet that is asked about. */
export const CONTENDERS = ["none", "sallyport", "queue", "nginx", "haproxy", "squid"] as const;
export type Contender = (typeof CONTENDERS)[number];

/** What `load` prints. */
export interface LoadResult {
  readonly done: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly gigabits: number;
  readonly p50: number;
  readonly p99: number;
}

export interface Load {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  readonly kind: "tcp" | "http" | "bulk" | "udp" | "dns";
  readonly concurrency: number;
  readonly seconds: number;
  readonly rounds: number;
  /** Bound on exchanges a round; default a million. */
  readonly most?: number;
  readonly request: WireName;
  readonly denied?: WireName;
  readonly reply: WireName | null;
  readonly targets: readonly string[];
  /** A proxy can do it. */
  readonly rivals: boolean;
  /** What the C loop answers, where each packet's answer can be the same one. */
  readonly queue?: LoopAnswer;
  readonly value: (result: LoadResult) => number;
}

const pool = (port: number) => POOL.map(({ ipv4 }) => `${ipv4}:${port}`);
const perSecond = (result: LoadResult) => result.perSecond;

export const LOADS: readonly Load[] = [
  {
    ...{ id: "tls", title: "new TLS connections, 64 at a time, 1 KB reply", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 2, rounds: 5, request: "hello", denied: "helloDenied" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: true, value: perSecond },
  },
  {
    ...{ id: "tls-one", title: "one new TLS connection at a time, p50", unit: "µs", better: "less" },
    ...{ kind: "tcp", concurrency: 1, seconds: 2, most: 4000, rounds: 5, request: "hello" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: true, value: (result) => result.p50 },
  },
  {
    ...{ id: "tls-large", title: "new TLS connections, hello of two segments (ML-KEM)", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 2, rounds: 3, request: "helloLarge" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: true, value: perSecond },
  },
  {
    ...{ id: "bulk", title: "bulk download over an allowed flow", unit: "Gbit/s", better: "more" },
    ...{ kind: "bulk", concurrency: 1, seconds: 3.5, rounds: 5, request: "hello" },
    ...{ reply: null, targets: pool(8443).slice(0, 1), rivals: true, value: (result) => result.gigabits },
  },
  {
    ...{ id: "http", title: "HTTP keep-alive requests, 64 connections, path rule", unit: "1/s", better: "more" },
    ...{ kind: "http", concurrency: 64, seconds: 2, rounds: 5, request: "get", denied: "getDenied" },
    ...{ reply: null, targets: pool(80), rivals: true, queue: "http", value: perSecond },
  },
  {
    ...{ id: "dns", title: "DNS questions, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "dns", concurrency: 64, seconds: 2, rounds: 5, request: "question" },
    ...{ reply: null, targets: [`${RESPONDER}:53`], rivals: false, queue: "pass", value: perSecond },
  },
  {
    ...{ id: "dns-one", title: "one DNS question at a time, p50", unit: "µs", better: "less" },
    ...{ kind: "dns", concurrency: 1, seconds: 1, rounds: 5, request: "question" },
    ...{ reply: null, targets: [`${RESPONDER}:53`], rivals: false, queue: "pass", value: (result) => result.p50 },
  },
  {
    ...{ id: "udp", title: "new UDP flows decided by address, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "udp", concurrency: 64, seconds: 1.5, most: 60_000, rounds: 5, request: "ping" },
    ...{
      reply: null,
      targets: PORTS.datagrams.map((port) => `${PARTNER}:${port}`),
      rivals: false,
      queue: "allow",
      value: perSecond,
    },
  },
  {
    ...{ id: "tcp", title: "new TCP flows decided by address, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 1.5, most: 40_000, rounds: 5, request: "ping" },
    ...{ reply: "plainReply", targets: [`${PARTNER}:${PORTS.banner}`], rivals: false, value: perSecond },
  },
];

/** Where a contender's client is; null: it does not take part. */
export function labOf(stage: Stage, load: Load, contender: Contender): Lab | null {
  if (contender === "sallyport") return stage.gate;
  if (contender === "queue") return load.queue === undefined ? null : stage.limit;
  return contender === "none" || load.rivals ? stage.free : null;
}

/** Runs a load once. Null where the contender does not take part. */
export async function runLoad(
  stage: Stage,
  load: Load,
  contender: Contender,
  seconds: number = load.seconds,
): Promise<LoadResult | null> {
  const lab = labOf(stage, load, contender);
  if (lab === null) return null;
  if (contender === "queue") await stage.waveThrough(load.queue ?? "allow");
  else if (lab === stage.free)
    await redirectTo(lab, contender === "none" || contender === "sallyport" ? null : contender);
  const argv = [
    tool("load"),
    ...[load.kind, String(seconds), String(load.most ?? 1_000_000), String(load.concurrency)],
    ...[stage.wire[load.request].path, load.reply === null ? "0" : stage.wire[load.reply].path],
    ...load.targets,
  ];
  return JSON.parse(await stage.inClient(lab, argv, seconds * 1000 + 10_000)) as LoadResult;
}
