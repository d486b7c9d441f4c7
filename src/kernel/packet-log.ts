import { SystemError } from "./libc.ts";
import { bindError, NetlinkSocket } from "./netlink.ts";
import {
  AttributeReader,
  HEADER,
  type Message,
  MessageWriter,
  NETFILTER_HEADER,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_DONE,
  netfilterType,
  readU32,
} from "./netlink-message.ts";

/** Copies of packets that nft `log group` makes: read behind the packets, which wait for nobody. linux/netfilter/nfnetlink_log.h. */

const SUBSYSTEM = 4;
const PACKET = netfilterType(SUBSYSTEM, 0);
const MESSAGE_CONFIG = 1;
const CONFIG = { command: 1, mode: 2, bufferSize: 3, timeout: 4, threshold: 5, flags: 6 } as const;
const COMMAND_BIND = 1;
const COMMAND_UNBIND = 2;
const COPY_PACKET = 2;
const FLAG_SEQUENCE = 1;
const ATTRIBUTE = { payload: 9, sequence: 12 } as const;

const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** Room that the kernel takes for the records of one datagram: a record is its copy and some 100 bytes. */
const ENVELOPE = 128;
/** Datagrams of one `read`, so that a flood of records does not keep the reader from its other work. */
const DATAGRAMS = 16;

export interface PacketLogOptions {
  /** NFLOG group: a number space of its own, apart from that of the queues. */
  readonly group: number;
  /** Bytes that are copied of each packet. nft's `snaplen` may make it less. */
  readonly copyRange: number;
  /** Records that the kernel collects before it hands them over; nft's `queue-threshold` may make it less. */
  readonly threshold: number;
  /** Time after which it hands over fewer, in steps of 10. */
  readonly timeoutMs: number;
}

/** Monotonic. */
export interface PacketLogCounters {
  /** Records handed out. */
  received: number;
  /** Records that the kernel numbered and could not deliver. Noticed with the next one that comes through. */
  lost: number;
  /** Datagrams and messages that were not understood. */
  malformed: number;
}

/** Takes the bytes of one packet, `[start, end)`; they are borrowed until the call returns. */
export type TakeRecord = (bytes: Uint8Array, start: number, end: number) => void;

/**
 * One NFLOG group of the namespace of the calling thread. Wait for `fd` in a Poller, then `read`. The kernel holds a record back
 * for at most `timeoutMs`, and never holds the packet. A group without reader is silent: nothing is counted as lost then.
 */
export class PacketLog {
  readonly fd: number;
  readonly counters: PacketLogCounters = { received: 0, lost: 0, malformed: 0 };
  /** By the caller's clock: at or after this it was empty last, so what is read next has come since. */
  emptyAt = Number.NEGATIVE_INFINITY;
  private readonly socket: NetlinkSocket;
  private readonly group: number;
  private readonly reader = new AttributeReader(new Uint8Array(0), 0, 0);
  /** Number that the next record must bear. */
  private next = 0;

  constructor(socket: NetlinkSocket, group: number) {
    this.socket = socket;
    this.group = group;
    this.fd = socket.fd;
  }

  /** Times that the kernel said that the socket was full. */
  get overruns(): number {
    return this.socket.overruns;
  }

  /** Hands over what waits, at most `DATAGRAMS` times the threshold. Returns the number of records. */
  read(take: TakeRecord, now = Number.NEGATIVE_INFINITY): number {
    const before = this.counters.received;
    for (let round = 0; round < DATAGRAMS; round++) {
      const overruns = this.socket.overruns;
      const some = this.socket.receive((data, message) => {
        this.decode(data, message, take);
        return true;
      });
      if (some || this.socket.overruns !== overruns) continue;
      this.emptyAt = now;
      break;
    }
    return this.counters.received - before;
  }

  private decode(data: Uint8Array, message: Message, take: TakeRecord): void {
    if (message.type === NLMSG_DONE) return;
    if (message.type !== PACKET) {
      this.counters.malformed++;
      return;
    }
    let start = -1;
    let end = -1;
    let sequence = -1;
    const reader = this.reader;
    reader.open(data, message.start + (NETFILTER_HEADER - HEADER), message.end);
    while (reader.next()) {
      if (reader.type === ATTRIBUTE.payload) {
        start = reader.start;
        end = reader.end;
      } else if (reader.type === ATTRIBUTE.sequence) sequence = readU32(data, reader.start, reader.end);
    }
    if (sequence >= 0) {
      this.counters.lost += (sequence - this.next) >>> 0;
      this.next = (sequence + 1) >>> 0;
    }
    if (start < 0) {
      this.counters.malformed++;
      return;
    }
    this.counters.received++;
    take(data, start, end);
  }

  /** No more records: the kernel hands over what it has collected, which is all read here. */
  finish(take: TakeRecord): void {
    const writer = new MessageWriter(64);
    writer
      .begin(netfilterType(SUBSYSTEM, MESSAGE_CONFIG), NLM_F_REQUEST, this.socket.nextSequence(), 0, this.group)
      .u8(CONFIG.command, COMMAND_UNBIND);
    this.socket.send(writer.end().message(), writer.length);
    while (this.read(take) > 0);
  }

  close(): void {
    this.socket.close();
  }
}

/** Binds an NFLOG group. Throws an Error that names the group where another process holds it or privilege is missing. */
export function openPacketLog(options: PacketLogOptions): PacketLog {
  const bufferSize = Math.min(128 * 1024, options.threshold * (options.copyRange + ENVELOPE));
  const socket = new NetlinkSocket(Math.max(8192, 2 * bufferSize));
  try {
    socket.setReceiveBuffer(RECEIVE_BUFFER);
    configure(socket, options, bufferSize);
  } catch (error) {
    socket.close();
    throw error instanceof SystemError ? bindError(`NFLOG group \`${options.group}\``, error) : error;
  }
  return new PacketLog(socket, options.group);
}

function configure(socket: NetlinkSocket, options: PacketLogOptions, bufferSize: number): void {
  const writer = new MessageWriter(256);
  const begin = (flags: number): number => {
    const sequence = socket.nextSequence();
    writer.clear();
    writer.begin(netfilterType(SUBSYSTEM, MESSAGE_CONFIG), flags, sequence, 0, options.group);
    return sequence;
  };
  // Acknowledged while nothing can be logged yet: waiting for an answer would swallow the first records.
  const sequence = begin(NLM_F_REQUEST | NLM_F_ACK);
  writer.u8(CONFIG.command, COMMAND_BIND);
  socket.request("bind packet log", writer.end().message(), sequence);
  begin(NLM_F_REQUEST);
  writer
    .data(CONFIG.mode, mode(options.copyRange))
    .u32(CONFIG.bufferSize, bufferSize)
    .u32(CONFIG.timeout, Math.max(1, Math.round(options.timeoutMs / 10)))
    .u32(CONFIG.threshold, options.threshold)
    .u16(CONFIG.flags, FLAG_SEQUENCE);
  const number = socket.send(writer.end().message(), writer.length);
  if (number !== 0) throw new SystemError("configure packet log", number);
}

/** struct nfulnl_msg_config_mode */
function mode(copyRange: number): Uint8Array {
  const bytes = new Uint8Array(6);
  new DataView(bytes.buffer).setUint32(0, copyRange, false);
  bytes[4] = COPY_PACKET;
  return bytes;
}
