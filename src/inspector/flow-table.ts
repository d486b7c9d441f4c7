import type { FlowTuple } from "../flow/event.ts";
import type { Packet } from "../packet/ip.ts";

/**
 * The key of a flow: protocol as on the wire, addresses as words, ports (ICMP echo: identifier and 0). Words are signed, as is the hash: V8
 * keeps 32 bits with a sign inside an object, and what does not fit in a box elsewhere, another line of memory for each.
 */
export interface FlowKey {
  protocol: number;
  c0: number;
  c1: number;
  c2: number;
  c3: number;
  s0: number;
  s1: number;
  s2: number;
  s3: number;
  clientPort: number;
  serverPort: number;
}

/** What lives in the table. `hash` and `bucketNext` belong to the table. */
export interface FlowEntry extends FlowKey {
  hash: number;
  bucketNext: FlowEntry | null;
}

export function newFlowKey(): FlowKey {
  return { protocol: 0, c0: 0, c1: 0, c2: 0, c3: 0, s0: 0, s1: 0, s2: 0, s3: 0, clientPort: 0, serverPort: 0 };
}

/** Fills `into` from a packet; `fromServer` turns it around, so that both directions of a flow give one key. */
export function keyOf(packet: Packet, fromServer: boolean, into: FlowKey): void {
  into.protocol = packet.protocol;
  if (fromServer) {
    setWords(into, packet.d0, packet.d1, packet.d2, packet.d3, packet.s0, packet.s1, packet.s2, packet.s3);
  } else {
    setWords(into, packet.s0, packet.s1, packet.s2, packet.s3, packet.d0, packet.d1, packet.d2, packet.d3);
  }
  const clientPort = fromServer ? packet.destinationPort : packet.sourcePort;
  const echo = packet.protocol === 1 || packet.protocol === 58;
  into.clientPort = echo ? packet.icmpId : clientPort;
  into.serverPort = echo ? 0 : fromServer ? packet.sourcePort : packet.destinationPort;
}

/** Fills `into` from a tuple, whose client is the one of the key. */
export function setTuple(into: FlowKey, tuple: FlowTuple): void {
  const { client: c, server: s } = tuple;
  into.protocol = tuple.protocol;
  setWords(into, c.w0, c.w1, c.w2, c.w3, s.w0, s.w1, s.w2, s.w3);
  into.clientPort = tuple.clientPort;
  into.serverPort = tuple.serverPort;
}

/** The key of something larger, by itself. */
export function copyKey(from: FlowKey): FlowKey {
  const { protocol, c0, c1, c2, c3, s0, s1, s2, s3, clientPort, serverPort } = from;
  return { protocol, c0, c1, c2, c3, s0, s1, s2, s3, clientPort, serverPort };
}

/** Makes `into` the key that `from` is. */
export function setKey(into: FlowKey, from: FlowKey): void {
  into.protocol = from.protocol;
  setWords(into, from.c0, from.c1, from.c2, from.c3, from.s0, from.s1, from.s2, from.s3);
  into.clientPort = from.clientPort;
  into.serverPort = from.serverPort;
}

/** Sets the address words of both ends. */
function setWords(
  key: FlowKey,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
): void {
  key.c0 = c0 | 0;
  key.c1 = c1 | 0;
  key.c2 = c2 | 0;
  key.c3 = c3 | 0;
  key.s0 = s0 | 0;
  key.s1 = s1 | 0;
  key.s2 = s2 | 0;
  key.s3 = s3 | 0;
}

/**
 * Flows by key. A pod chooses its ports and destinations, so the hash is seeded with a secret of this run: without it
 * one pod could put all its flows into one bucket and slow the lane down for everybody. Keys are compared by words.
 */
export class FlowTable<E extends FlowEntry> {
  #buckets: (E | null)[];
  #seed: number;
  #size = 0;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#buckets = new Array<E | null>(256).fill(null);
  }

  get size(): number {
    return this.#size;
  }

  find(key: FlowKey): E | null {
    const hash = this.#hash(key);
    let entry: E | null = this.#buckets[hash & (this.#buckets.length - 1)]!;
    while (entry !== null && !(entry.hash === hash && sameKey(entry, key))) entry = entry.bucketNext as E | null;
    return entry;
  }

  /** The key of `entry` must not be in the table yet. */
  add(entry: E): void {
    if (this.#size >= this.#buckets.length) this.#grow();
    entry.hash = this.#hash(entry);
    this.#link(entry);
    this.#size++;
  }

  remove(entry: E): boolean {
    const at = entry.hash & (this.#buckets.length - 1);
    let link: E | null = this.#buckets[at]!;
    if (link === entry) this.#buckets[at] = entry.bucketNext as E | null;
    else {
      while (link !== null && link.bucketNext !== entry) link = link.bucketNext as E | null;
      if (link === null) return false;
      link.bucketNext = entry.bucketNext;
    }
    entry.bucketNext = null;
    this.#size--;
    return true;
  }

  get buckets(): number {
    return this.#buckets.length;
  }

  /** The first of a bucket, which `bucketNext` leads on from. Flows lie in other buckets when the table has grown. */
  firstIn(bucket: number): E | null {
    return this.#buckets[bucket] ?? null;
  }

  /** A copy, so that flows may be removed while one walks. Costs memory: for policy changes, not for packets. */
  all(): E[] {
    const entries: E[] = [];
    for (const first of this.#buckets) {
      for (let entry = first; entry !== null; entry = entry.bucketNext as E | null) entries.push(entry);
    }
    return entries;
  }

  #link(entry: E): void {
    const at = entry.hash & (this.#buckets.length - 1);
    entry.bucketNext = this.#buckets[at]!;
    this.#buckets[at] = entry;
  }

  #grow(): void {
    const entries = this.all();
    this.#buckets = new Array<E | null>(this.#buckets.length * 2).fill(null);
    for (const entry of entries) this.#link(entry);
  }

  #hash(key: FlowKey): number {
    return hashKey(key, key.clientPort, this.#seed);
  }
}

/** 32 bits, signed; `clientPort` in place of the key's own: 0 is the same for all flows of a client with a server's port. */
export function hashKey(key: FlowKey, clientPort: number, seed: number): number {
  let h = mix(seed, key.c3);
  h = mix(h, key.c2);
  h = mix(h, key.c1 ^ Math.imul(key.c0, 0x9e3779b1));
  h = mix(h, key.s3);
  h = mix(h, key.s2);
  h = mix(h, key.s1);
  h = mix(h, key.s0);
  h = mix(h, (clientPort << 16) | key.serverPort);
  h = mix(h, key.protocol ^ seed);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function mix(h: number, value: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = h ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function sameKey(a: FlowKey, b: FlowKey): boolean {
  return (
    a.c3 === b.c3 &&
    a.s3 === b.s3 &&
    a.clientPort === b.clientPort &&
    a.serverPort === b.serverPort &&
    a.protocol === b.protocol &&
    a.c2 === b.c2 &&
    a.c1 === b.c1 &&
    a.c0 === b.c0 &&
    a.s2 === b.s2 &&
    a.s1 === b.s1 &&
    a.s0 === b.s0
  );
}
