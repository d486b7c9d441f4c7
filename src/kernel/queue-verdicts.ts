import { align4, NLM_F_REQUEST, netfilterType } from "./netlink-message.ts";
import type { QueueCounters } from "./queue-counters.ts";

const SUBSYSTEM = 3;
const MESSAGE_VERDICT = 1;
const ATTRIBUTE_VERDICT = 2;
const ATTRIBUTE_MARK = 3;
const ATTRIBUTE_PAYLOAD = 10;
const NF_DROP = 0;
const NF_ACCEPT = 1;
const NF_QUEUE = 3;

/** nlmsghdr, nfgenmsg, verdict header, mark */
const LONGEST_ENVELOPE = 16 + 4 + 12 + 8 + 4;
/** Below the socket's send buffer, which bounds one datagram; larger than any packet. */
const CAPACITY = 96 * 1024;
const ATTEMPTS = 3;

/** Anything that sends a datagram to the kernel: 0, or an error number. */
export interface Sender {
  send(bytes: Uint8Array, length: number): number;
}

/** Collects verdict messages of one queue and sends them together: the kernel reads them one after the other. */
export class VerdictBuffer {
  private readonly bytes = new Uint8Array(CAPACITY);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly queue: number;
  private readonly sender: Sender;
  private readonly counters: QueueCounters;
  private length = 0;
  private count = 0;

  constructor(queue: number, sender: Sender, counters: QueueCounters) {
    this.queue = queue;
    this.sender = sender;
    this.counters = counters;
  }

  /** A replacement longer than an IP packet can be is a verdict of drop: never the packet as it was. */
  add(id: number, accept: boolean, mark: number | null, replacement: Uint8Array | null): void {
    const tooLong = replacement !== null && replacement.length > 0xffff;
    this.write(id, accept && !tooLong ? NF_ACCEPT : NF_DROP, mark, tooLong ? null : replacement);
  }

  /** Puts the packet as it is into another queue; the kernel drops it where nobody listens. */
  requeue(id: number, queue: number): void {
    this.write(id, ((queue << 16) | NF_QUEUE) >>> 0, null, null);
  }

  private write(id: number, verdict: number, mark: number | null, content: Uint8Array | null): void {
    const need = LONGEST_ENVELOPE + align4(content?.length ?? 0);
    if (this.length + need > CAPACITY) this.flush();
    const view = this.view;
    const start = this.length;
    view.setUint16(start + 4, netfilterType(SUBSYSTEM, MESSAGE_VERDICT), true);
    view.setUint16(start + 6, NLM_F_REQUEST, true);
    view.setUint32(start + 8, 0, true);
    view.setUint32(start + 12, 0, true);
    // Family and version 0, queue number in network order.
    view.setUint32(start + 16, this.queue, false);
    view.setUint16(start + 20, 12, true);
    view.setUint16(start + 22, ATTRIBUTE_VERDICT, true);
    view.setUint32(start + 24, verdict, false);
    view.setUint32(start + 28, id, false);
    let at = start + 32;
    if (mark !== null) {
      view.setUint16(at, 8, true);
      view.setUint16(at + 2, ATTRIBUTE_MARK, true);
      view.setUint32(at + 4, mark, false);
      at += 8;
    }
    if (content !== null) {
      view.setUint16(at, 4 + content.length, true);
      view.setUint16(at + 2, ATTRIBUTE_PAYLOAD, true);
      this.bytes.set(content, at + 4);
      at += 4 + align4(content.length);
    }
    view.setUint32(start, at - start, true);
    this.length = at;
    this.count++;
  }

  /**
   * Sends what has been collected. A failure is tried again at once, then counted, not thrown: those packets stay in
   * the kernel's queue until it closes.
   */
  flush(): void {
    if (this.count === 0) return;
    let attempt = 0;
    while (attempt < ATTEMPTS && this.sender.send(this.bytes, this.length) !== 0) {
      this.counters.failedFlushes++;
      attempt++;
    }
    if (attempt === ATTEMPTS) this.counters.lostVerdicts += this.count;
    this.length = 0;
    this.count = 0;
  }
}
