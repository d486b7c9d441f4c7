import { copyKey, type FlowEntry, type FlowKey, FlowTable, setKey } from "./flow-table.ts";
import type { TcpFlow } from "./tcp-flow.ts";

const BLOCK = 1024;
const CHUNK_BLOCKS = 1024;
/** Of all workloads together, and of one of them: 16 and 4 MiB. */
const MOST_BLOCKS = 16_384;
const MOST_OF_WORKLOAD = 4_096;
/** The largest hello that is kept: with two key shares one of which is ML-KEM. */
const LARGEST_HELLO = 2 * BLOCK;
/** Longer than a client goes on sending an unanswered hello again, at the pace of the first dozen seconds and their double. */
const LIFE_MS = 60_000;
const TURN_MS = 1_000;

/** What must be known of a flow whose hello has gone, should a packet of it be asked about. */
export interface KeptHello extends FlowEntry {
  workloadId: number;
  flowId: number;
  bornAt: number;
  clientIsn: number;
  serverIsn: number;
  /** The hello is all that the client has sent. */
  length: number;
}

interface Entry extends KeptHello {
  until: number;
  first: number;
  second: number;
  gone: boolean;
  /** Kept after this one for the same workload. */
  next: Entry | null;
}

interface Queue {
  oldest: Entry | null;
  newest: Entry | null;
  blocks: number;
}

/**
 * The hellos of flows in state `proving`: the kernel hands them over without a word, so nobody says when one is of no use any more. The
 * oldest of a workload go when it keeps too many, all of them after a minute. Whoever sends one again after that is reset, for
 * nobody could compare the copies any more.
 *
 * Bytes lie in blocks of memory that is asked for as it is needed, and entries are used again: at thousands of connections a second
 * anything else would be work for the garbage collector.
 */
export class KeptHellos {
  readonly #table: FlowTable<Entry>;
  readonly #queues = new Map<number, Queue>();
  readonly #chunks: Uint8Array[] = [];
  readonly #freeBlocks: number[] = [];
  readonly #freeEntries: Entry[] = [];
  #blocks = 0;
  #turnAt = 0;

  constructor(seed: number) {
    this.#table = new FlowTable<Entry>(seed);
  }

  get size(): number {
    return this.#table.size;
  }

  find(key: FlowKey): KeptHello | null {
    return this.#table.size === 0 ? null : this.#table.find(key);
  }

  /** Keeps what the client has sent, none of which has been settled. False: there is no room for it. */
  keep(flow: TcpFlow, now: number): boolean {
    const { client, workloadId, bornAt, clientIsn, serverIsn } = flow;
    const length = client.unread;
    if (length > LARGEST_HELLO || client.bufferStart !== 0) return false;
    const known = this.#table.find(flow);
    if (known !== null) this.#drop(known);
    const queue = this.#queueOf(workloadId);
    const needed = length > BLOCK ? 2 : 1;
    while (queue.oldest !== null && (queue.blocks + needed > MOST_OF_WORKLOAD || !this.#hasRoom(needed))) {
      this.#dropOldest(queue);
    }
    if (!this.#hasRoom(needed)) return false;
    const entry = this.#entry(flow);
    entry.workloadId = workloadId;
    entry.flowId = flow.id;
    entry.bornAt = bornAt;
    entry.clientIsn = clientIsn;
    entry.serverIsn = serverIsn;
    entry.length = length;
    entry.until = now + LIFE_MS;
    entry.first = this.#take();
    entry.second = needed === 2 ? this.#take() : -1;
    this.#block(entry.first).set(client.buffer.subarray(0, Math.min(length, BLOCK)));
    if (entry.second >= 0) this.#block(entry.second).set(client.buffer.subarray(BLOCK, length));
    queue.blocks += needed;
    if (queue.newest === null) queue.oldest = entry;
    else queue.newest.next = entry;
    queue.newest = entry;
    this.#table.add(entry);
    return true;
  }

  /** The bytes of a hello: a copy. */
  bytes(kept: KeptHello): Uint8Array {
    const { first, second, length } = kept as Entry;
    const bytes = new Uint8Array(length);
    bytes.set(this.#block(first).subarray(0, Math.min(length, BLOCK)));
    if (second >= 0) bytes.set(this.#block(second).subarray(0, length - BLOCK), BLOCK);
    return bytes;
  }

  forget(kept: KeptHello): void {
    this.#drop(kept as Entry);
  }

  /** Time has passed. */
  tick(now: number): void {
    if (now < this.#turnAt) return;
    this.#turnAt = now + TURN_MS;
    for (const [workloadId, queue] of this.#queues) {
      while (queue.oldest !== null && (queue.oldest.gone || queue.oldest.until <= now)) this.#dropOldest(queue);
      if (queue.oldest === null) this.#queues.delete(workloadId);
    }
  }

  /** Gives the memory back; the entry stays in its queue until its turn comes. */
  #drop(entry: Entry): void {
    if (entry.gone) return;
    entry.gone = true;
    this.#table.remove(entry);
    this.#queueOf(entry.workloadId).blocks -= entry.second >= 0 ? 2 : 1;
    this.#freeBlocks.push(entry.first);
    if (entry.second >= 0) this.#freeBlocks.push(entry.second);
  }

  #dropOldest(queue: Queue): void {
    const entry = queue.oldest!;
    queue.oldest = entry.next;
    if (queue.oldest === null) queue.newest = null;
    this.#drop(entry);
    entry.next = null;
    this.#freeEntries.push(entry);
  }

  #queueOf(workloadId: number): Queue {
    let queue = this.#queues.get(workloadId);
    if (queue === undefined) {
      queue = { oldest: null, newest: null, blocks: 0 };
      this.#queues.set(workloadId, queue);
    }
    return queue;
  }

  #entry(flow: FlowKey): Entry {
    const used = this.#freeEntries.pop();
    if (used === undefined) {
      const nothing = { hash: 0, bucketNext: null, workloadId: 0, flowId: 0, bornAt: 0, clientIsn: 0, serverIsn: 0 };
      const place = { length: 0, until: 0, first: -1, second: -1, gone: false, next: null };
      return { ...copyKey(flow), ...nothing, ...place };
    }
    used.gone = false;
    setKey(used, flow);
    return used;
  }

  #hasRoom(needed: number): boolean {
    return this.#freeBlocks.length + MOST_BLOCKS - this.#blocks >= needed;
  }

  #take(): number {
    const free = this.#freeBlocks.pop();
    if (free !== undefined) return free;
    const block = this.#blocks++;
    if (block % CHUNK_BLOCKS === 0) this.#chunks.push(new Uint8Array(CHUNK_BLOCKS * BLOCK));
    return block;
  }

  #block(index: number): Uint8Array {
    const at = (index % CHUNK_BLOCKS) * BLOCK;
    return this.#chunks[Math.floor(index / CHUNK_BLOCKS)]!.subarray(at, at + BLOCK);
  }
}
