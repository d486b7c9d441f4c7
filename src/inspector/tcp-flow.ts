import type { FlowTuple } from "../flow/event.ts";
import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import type { BodyReader } from "../packet/http/body.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { DnsStreams } from "./dns-stream.ts";
import type { FlowKey } from "./flow-table.ts";
import { FollowedFlow } from "./followed-flow.ts";
import type { MutableFacts } from "./judge.ts";
import { FLOW_BYTES } from "./limits.ts";
import { Stream } from "./stream.ts";

/**
 * `opening`: the SYN is held. `looking`: the SYN has passed, the flow is not decided. `allowed`: decided, until the server
 * has acknowledged what was inspected. `http`: every request is decided. `dns`: every message is judged.
 */
export type Phase = "opening" | "looking" | "allowed" | "http" | "dns";

/** A packet without a verdict yet. Offsets are those of its payload in its direction's stream. */
export interface Held {
  id: number;
  start: number;
  end: number;
  fin: boolean;
  fromServer: boolean;
  /** The whole IP packet, where it may have to be changed (DNS answers); else null. */
  bytes: Uint8Array | null;
}

const KEPT_FRAMING = 64 * 1024;

/** One TCP connection that the lane still follows. */
export class TcpFlow extends FollowedFlow {
  readonly kind = "tcp";
  bornAt = 0;
  phase: Phase = "opening";
  /** Nothing is held back or cut: the enforced outcome is Allow, only what Audit policies would say is still open. */
  watching = false;
  /** The enforced decision on the flow as a whole, once it is known. */
  decision: Decision | null = null;
  readonly held: Held[] = [];
  /** Bytes counted against the workload's bound for this flow. */
  charged = 0;

  /** The SYN as it goes to the server, where it differs from what the client sent. */
  plainSyn: Uint8Array | null = null;
  /** -1: not known. */
  clientIsn: number;
  readonly client: Stream;
  /** Client bytes up to here may go to the server. */
  releaseEnd = 0;
  /** Client bytes up to here have gone (a FIN counts as one). */
  sent = 0;
  finAt = -1;
  clientAck = 0;

  /** Its SYN-ACK must be seen: an earlier SYN of other numbers may be the one that the server has taken. */
  wantsSynAck = false;
  serverKnown = false;
  serverIsn = 0;
  /** Sequence number after the last byte that the server has sent and the client has been given. */
  serverNext = 0;
  serverWindow = 0;
  serverScale = 0;
  clientScale = -1;
  /** Client bytes that the server has acknowledged. */
  acked = 0;

  /** When facts end, and when a held hello goes on piecewise. */
  factsUntil = Infinity;
  stallAt = Infinity;

  /** Fewer unread bytes than this tell the hello reader nothing new. */
  needed = 0;
  /** HTTP head reader: bytes known to hold no end of line. */
  scanned = 0;
  body: BodyReader | null = null;
  requests = 0;
  /** Conntrack was told to remember `http`: only the client's direction is queued. */
  httpHanded = false;
  /** Offset of the last request that was allowed, the length of its head (0: of no use, its body is framed), and when it came. */
  requestStart = 0;
  requestHead = 0;
  requestAt = 0;
  /** Row among the request boundaries; -1: none. */
  boundary = -1;
  /** Up to where the row is written; -1: it says nothing. */
  notedEnd = -1;
  /** What the row says of the last request; null: it has not been written by this flow. */
  notedFacts: Pick<Facts, "evidence" | "method" | "path" | "nameHidden"> | null = null;
  /** Taken over from an agent that died, and no request has come since. */
  recalled = false;
  /** End of what was inspected and decided (`allowed`, and the first request of `http`). */
  inspectedEnd = 0;
  /** TLS: next record header to look at behind the hello. */
  scanAt = 0;
  hello: "none" | "first" | "retried" | "second" = "none";
  serverBytes: Uint8Array | null = null;
  serverCount = 0;
  serverSpoke = false;
  /** It was given to the kernel to be proved, and a packet of it has been asked about since. */
  again = false;
  /** Conntrack may still remember `proving`. */
  proving = false;
  forgetAt = Infinity;
  /** The round of silent-flows.ts since which nothing has been heard of it; 0: something has; KEPT (untracked-flows.ts). */
  silentSince = 0;
  /** Conntrack did not know it, and it was kept. */
  untracked = false;
  dns: DnsStreams | null = null;

  constructor(
    key: FlowKey,
    id: number,
    workloadId: number,
    cls: number,
    tuple: FlowTuple,
    facts: MutableFacts,
    isn: number,
    pool: BufferPool,
  ) {
    super(key, id, workloadId, cls, tuple, facts);
    this.clientIsn = isn;
    this.client = new Stream((isn + 1) >>> 0, FLOW_BYTES, KEPT_FRAMING, pool);
  }
}
