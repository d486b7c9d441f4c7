import { readFileSync } from "node:fs";
import { SystemError } from "./libc.ts";
import { bindError, NetlinkSocket } from "./netlink.ts";
import { MessageWriter, NLM_F_ACK, NLM_F_REQUEST, netfilterType } from "./netlink-message.ts";
import { PacketBatch } from "./queue-batch.ts";
import type { QueueCounters } from "./queue-counters.ts";
import { parseQueueStatistics, type QueueStatistics } from "./queue-statistics.ts";
import { VerdictBuffer } from "./queue-verdicts.ts";

export type { QueueStatistics };

const SUBSYSTEM = 3;
const MESSAGE_CONFIG = 2;
const CONFIG_COMMAND = 1;
const CONFIG_PARAMETERS = 2;
const CONFIG_MAX_LENGTH = 3;
const CONFIG_MASK = 4;
const CONFIG_FLAGS = 5;
const COMMAND_BIND = 1;
const COPY_NONE = 0;
const COPY_PACKET = 2;
const FLAG_FAIL_OPEN = 1;
const NETLINK_NO_ENOBUFS = 5;
const RECEIVE_BUFFER = 16 * 1024 * 1024;

export interface QueueOptions {
  readonly number: number;
  /** Packets that may wait in the kernel for a verdict; beyond it they are dropped, or accepted with `failOpen`. */
  readonly maxLength: number;
  /** Accept what does not fit into the queue. Not for a firewall that fails closed. */
  readonly failOpen: boolean;
  /** Bytes of each packet that are copied out; 0xffff is all of it. */
  readonly copyRange?: number;
}

/**
 * One NFQUEUE of the namespace of the calling thread. `receive` fills the batch, `verdict` collects answers, `flush`
 * sends them. Single-threaded. Closing it returns what is waiting to the kernel, which drops it.
 */
export class Queue {
  readonly number: number;
  readonly fd: number;
  readonly batch: PacketBatch;
  readonly counters: QueueCounters = {
    received: 0,
    refusedVerdicts: 0,
    failedFlushes: 0,
    lostVerdicts: 0,
    malformed: 0,
  };
  /** By the caller's clock: at or after this it was empty last, so what is read next has come since. */
  emptyAt = Number.NEGATIVE_INFINITY;
  private readonly socket: NetlinkSocket;
  private readonly verdicts: VerdictBuffer;

  constructor(socket: NetlinkSocket, number: number, copyRange: number) {
    this.socket = socket;
    this.number = number;
    this.fd = socket.fd;
    this.batch = new PacketBatch(copyRange, this.counters);
    this.verdicts = new VerdictBuffer(number, socket, this.counters);
  }

  /** Drains up to one batch without waiting. Returns the number of packets now in `batch`; their bytes are borrowed until the next call. */
  receive(now = Number.NEGATIVE_INFINITY): number {
    const count = this.batch.receive(this.fd);
    if (this.batch.emptied) this.emptyAt = now;
    return count;
  }

  /**
   * Answers one packet. `mark` becomes its packet mark (null: left alone), `replacement` (a whole IP packet) its
   * content. Collected until `flush`, or until the buffer is nearly full.
   */
  verdict(id: number, accept: boolean, mark: number | null, replacement?: Uint8Array | null): void {
    this.verdicts.add(id, accept, mark, replacement ?? null);
  }

  /** Leaves one packet to the listener of another queue. */
  requeue(id: number, queue: number): void {
    this.verdicts.requeue(id, queue);
  }

  flush(): void {
    this.verdicts.flush();
  }

  /** What the kernel counts for this queue; null when it is not bound. */
  statistics(): QueueStatistics | null {
    // thread-self: the file is that of the namespace this thread is in.
    return parseQueueStatistics(readFileSync("/proc/thread-self/net/netfilter/nfnetlink_queue", "latin1"), this.number);
  }

  close(): void {
    this.socket.close();
  }
}

/** Binds an NFQUEUE. Throws an Error that names the queue where another process holds it or privilege is missing. */
export function openQueue(options: QueueOptions): Queue {
  const copyRange = options.copyRange ?? 0xffff;
  const socket = new NetlinkSocket();
  try {
    socket.setReceiveBuffer(RECEIVE_BUFFER);
    // Overflow shows in the queue's own counters; an error on every read would only cost the lane time.
    socket.setOption(NETLINK_NO_ENOBUFS, 1);
    configure(socket, options, copyRange);
  } catch (error) {
    socket.close();
    throw error instanceof SystemError ? bindError(`NFQUEUE \`${options.number}\``, error) : error;
  }
  return new Queue(socket, options.number, copyRange);
}

function configure(socket: NetlinkSocket, options: QueueOptions, copyRange: number): void {
  const writer = new MessageWriter(256);
  const begin = (flags: number, sequence: number): MessageWriter => {
    writer.clear();
    return writer.begin(netfilterType(SUBSYSTEM, MESSAGE_CONFIG), flags, sequence, 0, options.number);
  };
  const ask = (what: string, body: (message: MessageWriter) => void): void => {
    const sequence = socket.nextSequence();
    body(begin(NLM_F_REQUEST | NLM_F_ACK, sequence));
    socket.request(what, writer.end().message(), sequence);
  };
  ask("bind queue", (message) => message.data(CONFIG_COMMAND, new Uint8Array([COMMAND_BIND, 0, 0, 0])));
  ask("configure queue", (message) => {
    message.data(CONFIG_PARAMETERS, parameters(copyRange, COPY_NONE));
    message.u32(CONFIG_MAX_LENGTH, options.maxLength);
    message.u32(CONFIG_MASK, FLAG_FAIL_OPEN).u32(CONFIG_FLAGS, options.failOpen ? FLAG_FAIL_OPEN : 0);
  });
  // The last step lets packets in. It asks for no acknowledgement: waiting for one would swallow the first packets.
  begin(NLM_F_REQUEST, socket.nextSequence()).data(CONFIG_PARAMETERS, parameters(copyRange, COPY_PACKET));
  const number = socket.send(writer.end().message(), writer.length);
  if (number !== 0) throw new SystemError("configure queue", number);
}

function parameters(copyRange: number, mode: number): Uint8Array {
  const bytes = new Uint8Array(5);
  new DataView(bytes.buffer).setUint32(0, copyRange, false);
  bytes[4] = mode;
  return bytes;
}
