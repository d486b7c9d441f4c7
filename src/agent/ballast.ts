import { inPlace, type MarkLayout } from "../kernel/marks.ts";
import type { Queue } from "../kernel/queue.ts";
import { queueHasTable } from "../kernel/queue-table.ts";
import { RawSender } from "../kernel/raw-socket.ts";
import { ANSWER } from "../model/verdict.ts";

/**
 * So many lie in the queue. The kernel's table for them has 1,024 places then, doubles beyond three quarters of its places, halves below three
 * tenths (rhashtable): up to some 900 packets on their way it stays as it is.
 */
export const BALLAST = 640;
const LOOPBACK = 127;
/** For experimentation (RFC 3692 §2.1): nobody listens, should one ever get there. */
const PROTOCOL = 253;
/** NF_INET_LOCAL_OUT: no packet of a pod comes from there with such an address. */
const LOCAL_OUT = 3;
const HEADER = 20;

/**
 * Packets of our own that wait in the strict queue for ever. Without them its table in the kernel (kernel/queue-table.ts) is rebuilt by
 * a worker thread for every clump of packets that comes and goes, thousands of times a second (docs/adr/0031-ballast.md has figures).
 * They end with the queue. Not where the kernel walks a list, at whose head they would lie.
 */
export class Ballast {
  readonly #queue: Queue;
  readonly #sender: RawSender | null;
  readonly #packet = loopbackPacket();
  /** That lie in the queue. */
  size = 0;
  /** That have come, whether they were kept or not. */
  taken = 0;

  constructor(queue: Queue, marks: MarkLayout, hasTable = queueHasTable()) {
    this.#queue = queue;
    this.#sender = hasTable ? new RawSender(inPlace(marks, ANSWER.ballast)) : null;
  }

  /** Packet `i` of the queue's batch is one of ours: it stays, or is dropped where there are enough. Who may set marks on the node can send such, too. */
  takes(i: number): boolean {
    const { bytes, offset, length, hook, id, mark } = this.#queue.batch;
    if (hook[i] !== LOCAL_OUT || length[i]! < HEADER) return false;
    const at = offset[i]!;
    if (bytes[at]! >> 4 !== 4 || bytes[at + 9] !== PROTOCOL || bytes[at + 12] !== LOOPBACK) return false;
    this.taken++;
    if (this.size < BALLAST) this.size++;
    else this.#queue.verdict(id[i]!, false, mark[i]!);
    return true;
  }

  /**
   * To be called about once a second. What is missing is sent: one first, for without rules that lead there (they come after the lane) none
   * arrives. All are gone where a table of rules went, with whatever hooks.
   */
  tick(): void {
    if (this.#sender === null) return;
    if ((this.#queue.statistics()?.waiting ?? 0) < this.size) this.size = 0;
    const wanted = this.size === 0 ? 1 : BALLAST - this.size;
    for (let sent = 0; sent < wanted; sent++) if (!this.#sender.send(this.#packet)) return;
  }

  close(): void {
    this.#sender?.close();
  }
}

/** A header without content, from 127.0.0.1 to itself (RFC 791 §3.1); the kernel writes the checksum. */
function loopbackPacket(): Uint8Array {
  const packet = new Uint8Array(HEADER);
  packet.set([0x45, 0, 0, HEADER]);
  packet.set([1, PROTOCOL], 8);
  packet.set([LOOPBACK, 0, 0, 1, LOOPBACK, 0, 0, 1], 12);
  return packet;
}
