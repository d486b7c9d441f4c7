/** The loads: what is sent, how much of it at a time, and what of the answer is the measure. */
import { POOL } from "../src/lab/addresses.ts";
import type { Lab } from "../src/lab/lab.ts";
import { RIVAL_PORTS, SQUID_TARGET } from "./rivals.ts";
import { PARTNER, PORTS, RESPONDER, type Stage, tool } from "./stage.ts";
import type { WireName } from "./wire.ts";

export const CONTENDERS = ["none", "sallyport", "nginx", "haproxy", "squid"] as const;
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
  readonly rivals: "tls" | "bulk" | "http" | null;
  readonly value: (result: LoadResult) => number;
}

const pool = (port: number) => POOL.map(({ ipv4 }) => `${ipv4}:${port}`);
const perSecond = (result: LoadResult) => result.perSecond;

export const LOADS: readonly Load[] = [
  {
    ...{ id: "tls", title: "new TLS connections, 64 at a time, 1 KB reply", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 2, rounds: 5, request: "hello", denied: "helloDenied" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: "tls", value: perSecond },
  },
  {
    ...{ id: "tls-one", title: "one new TLS connection at a time, p50", unit: "µs", better: "less" },
    ...{ kind: "tcp", concurrency: 1, seconds: 2, most: 4000, rounds: 5, request: "hello" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: "tls", value: (result) => result.p50 },
  },
  {
    ...{ id: "tls-large", title: "new TLS connections, hello of two segments (ML-KEM)", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 2, rounds: 3, request: "helloLarge" },
    ...{ reply: "tlsReply", targets: pool(443), rivals: "tls", value: perSecond },
  },
  {
    ...{ id: "bulk", title: "bulk download over an allowed flow", unit: "Gbit/s", better: "more" },
    ...{ kind: "bulk", concurrency: 1, seconds: 3.5, rounds: 5, request: "hello" },
    ...{ reply: null, targets: pool(8443).slice(0, 1), rivals: "bulk", value: (result) => result.gigabits },
  },
  {
    ...{ id: "http", title: "HTTP keep-alive requests, 64 connections, path rule", unit: "1/s", better: "more" },
    ...{ kind: "http", concurrency: 64, seconds: 2, rounds: 5, request: "get", denied: "getDenied" },
    ...{ reply: null, targets: pool(80), rivals: "http", value: perSecond },
  },
  {
    ...{ id: "dns", title: "DNS questions, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "dns", concurrency: 64, seconds: 2, rounds: 5, request: "question" },
    ...{ reply: null, targets: [`${RESPONDER}:53`], rivals: null, value: perSecond },
  },
  {
    ...{ id: "dns-one", title: "one DNS question at a time, p50", unit: "µs", better: "less" },
    ...{ kind: "dns", concurrency: 1, seconds: 1, rounds: 5, request: "question" },
    ...{ reply: null, targets: [`${RESPONDER}:53`], rivals: null, value: (result) => result.p50 },
  },
  {
    ...{ id: "udp", title: "new UDP flows decided by address, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "udp", concurrency: 64, seconds: 1.5, most: 60_000, rounds: 5, request: "ping" },
    ...{ reply: null, targets: PORTS.datagrams.map((port) => `${PARTNER}:${port}`), rivals: null, value: perSecond },
  },
  {
    ...{ id: "tcp", title: "new TCP flows decided by address, 64 at a time", unit: "1/s", better: "more" },
    ...{ kind: "tcp", concurrency: 64, seconds: 1.5, most: 40_000, rounds: 5, request: "ping" },
    ...{ reply: "plainReply", targets: [`${PARTNER}:${PORTS.banner}`], rivals: null, value: perSecond },
  },
];

/** Where a contender's client connects to, with which request; null: it does not take part. */
export function routeOf(
  stage: Stage,
  load: Load,
  contender: Contender,
): { readonly lab: Lab; readonly request: WireName; readonly targets: readonly string[] } | null {
  if (contender === "none") return { lab: stage.free, request: load.request, targets: load.targets };
  if (contender === "sallyport") return { lab: stage.gate, request: load.request, targets: load.targets };
  const { rivals } = load;
  if (rivals === null) return null;
  const node = stage.free.node(1).address.ipv4;
  const lab = stage.free;
  if (contender !== "squid") {
    return { lab, request: load.request, targets: [`${node}:${RIVAL_PORTS[contender][rivals]}`] };
  }
  if (rivals !== "http")
    return { lab, request: load.request, targets: [`${SQUID_TARGET}:${rivals === "tls" ? 443 : 8443}`] };
  const request = load.request === "getDenied" ? "getProxyDenied" : "getProxy";
  return { lab, request, targets: [`${node}:${RIVAL_PORTS.squid.http}`] };
}

/** Runs a load once. Null where the contender does not take part. */
export async function runLoad(
  stage: Stage,
  load: Load,
  contender: Contender,
  seconds: number = load.seconds,
): Promise<LoadResult | null> {
  const route = routeOf(stage, load, contender);
  if (route === null) return null;
  const argv = [
    tool("load"),
    ...[load.kind, String(seconds), String(load.most ?? 1_000_000), String(load.concurrency)],
    ...[stage.wire[route.request].path, String(load.reply === null ? 0 : stage.wire[load.reply].length)],
    ...route.targets,
  ];
  return JSON.parse(await stage.inClient(route.lab, argv, seconds * 1000 + 10_000)) as LoadResult;
}
