import { addressOf, EAGAIN, EINTR, ENOBUFS, errno, MSG_DONTWAIT, recvmmsg, SystemError } from "./libc.ts";
import { AttributeReader, align4, HEADER, NETFILTER_HEADER, NLMSG_ERROR, readU16, readU32 } from "./netlink-message.ts";
import type { QueueCounters } from "./queue-counters.ts";

/** Packets per batch. */
export const BATCH = 64;

const PACKET_MESSAGE = 3 << 8;
const ATTRIBUTE = {
  header: 1,
  mark: 3,
  inInterface: 5,
  outInterface: 6,
  hardwareAddress: 9,
  payload: 10,
  priority: 21,
} as const;
/** Room in a slot for what surrounds the payload. */
const ENVELOPE = 512;
/** sizeof(struct mmsghdr), sizeof(struct iovec) on 64-bit machines */
const MMSGHDR = 64;
const IOVEC = 16;
const MMSGHDR_LENGTH = 56;

/**
 * The packets of the last read, as parallel arrays indexed `0 .. count - 1`. `bytes` holds all of them; packet i lies
 * at `offset[i]`, `length[i]` bytes. All of it is overwritten by the next read.
 */
export class PacketBatch {
  readonly bytes: Uint8Array;
  readonly id = new Uint32Array(BATCH);
  readonly mark = new Uint32Array(BATCH);
  readonly inInterface = new Uint32Array(BATCH);
  readonly outInterface = new Uint32Array(BATCH);
  /** Of the packet (SO_PRIORITY), unsigned; 0 before Linux 5.18, which does not tell it. */
  readonly priority = new Uint32Array(BATCH);
  /** Netfilter hook: 1 input, 2 forward, 3 output. */
  readonly hook = new Uint8Array(BATCH);
  readonly offset = new Uint32Array(BATCH);
  readonly length = new Uint32Array(BATCH);
  /** Where the sender's link-layer address lies in `bytes`; 0 where there is none. Six bytes on Ethernet. */
  readonly hardwareAddress = new Uint32Array(BATCH);
  readonly hardwareAddressLength = new Uint8Array(BATCH);

  /** The last read took all that waited. */
  emptied = false;

  private readonly slot: number;
  private readonly counters: QueueCounters;
  private readonly reader: AttributeReader;
  // The kernel is told where these lie; as fields of a living object they are not collected under its hands.
  private readonly headers = new Uint8Array(BATCH * MMSGHDR);
  private readonly vectors = new Uint8Array(BATCH * IOVEC);
  private readonly lengths = new Uint32Array(this.headers.buffer);

  constructor(copyRange: number, counters: QueueCounters) {
    this.slot = align4(copyRange + ENVELOPE);
    this.bytes = new Uint8Array(BATCH * this.slot);
    this.counters = counters;
    this.reader = new AttributeReader(this.bytes, 0, 0);
    const headers = new DataView(this.headers.buffer);
    const vectors = new DataView(this.vectors.buffer);
    const data = addressOf(this.bytes);
    const vector = addressOf(this.vectors);
    for (let index = 0; index < BATCH; index++) {
      vectors.setBigUint64(index * IOVEC, data + BigInt(index * this.slot), true);
      vectors.setBigUint64(index * IOVEC + 8, BigInt(this.slot), true);
      headers.setBigUint64(index * MMSGHDR + 16, vector + BigInt(index * IOVEC), true);
      headers.setBigUint64(index * MMSGHDR + 24, 1n, true);
    }
  }

  /** Reads what waits on `fd`, without blocking. Returns the number of packets. Throws only when the socket is gone. */
  receive(fd: number): number {
    const datagrams = recvmmsg(fd, this.headers, BATCH, MSG_DONTWAIT, null);
    this.emptied = datagrams < BATCH;
    if (datagrams < 0) {
      const number = errno();
      this.emptied = number === EAGAIN;
      if (number === EAGAIN || number === EINTR || number === ENOBUFS) return 0;
      throw new SystemError("recvmmsg", number, "queue");
    }
    let count = 0;
    for (let index = 0; index < datagrams; index++) {
      const length = this.lengths[(index * MMSGHDR + MMSGHDR_LENGTH) >> 2]!;
      if (this.decode(index * this.slot, length, count)) count++;
    }
    this.counters.received += count;
    return count;
  }

  private decode(start: number, length: number, index: number): boolean {
    const type = this.bytes[start + 4]! | (this.bytes[start + 5]! << 8);
    if (length >= NETFILTER_HEADER && type === PACKET_MESSAGE) return this.decodePacket(start, start + length, index);
    if (length >= HEADER + 4 && type === NLMSG_ERROR) {
      if (readU32(this.bytes, start + HEADER, start + length) !== 0) this.counters.refusedVerdicts++;
    } else {
      this.counters.malformed++;
    }
    return false;
  }

  private decodePacket(start: number, end: number, index: number): boolean {
    const bytes = this.bytes;
    const reader = this.reader;
    let complete = 0;
    this.mark[index] = 0;
    this.inInterface[index] = 0;
    this.priority[index] = 0;
    this.outInterface[index] = 0;
    this.hardwareAddress[index] = 0;
    this.hardwareAddressLength[index] = 0;
    reader.open(bytes, start + NETFILTER_HEADER, end);
    while (reader.next()) {
      const at = reader.start;
      switch (reader.type) {
        case ATTRIBUTE.header:
          if (at + 7 > reader.end) break;
          this.id[index] = readU32(bytes, at, reader.end);
          this.hook[index] = bytes[at + 6]!;
          complete |= 1;
          break;
        case ATTRIBUTE.mark:
          this.mark[index] = readU32(bytes, at, reader.end);
          break;
        case ATTRIBUTE.priority:
          this.priority[index] = readU32(bytes, at, reader.end);
          break;
        case ATTRIBUTE.inInterface:
          this.inInterface[index] = readU32(bytes, at, reader.end);
          break;
        case ATTRIBUTE.outInterface:
          this.outInterface[index] = readU32(bytes, at, reader.end);
          break;
        case ATTRIBUTE.hardwareAddress: {
          const size = readU16(bytes, at, reader.end);
          if (size > 8 || at + 4 + size > reader.end) break;
          this.hardwareAddress[index] = at + 4;
          this.hardwareAddressLength[index] = size;
          break;
        }
        case ATTRIBUTE.payload:
          this.offset[index] = at;
          this.length[index] = reader.end - at;
          complete |= 2;
          break;
      }
    }
    if (complete === 3) return true;
    if ((complete & 1) !== 0) {
      // A packet without payload still has to be answered: the lane sees it as empty, hence malformed.
      this.offset[index] = start;
      this.length[index] = 0;
      return true;
    }
    this.counters.malformed++;
    return false;
  }
}
