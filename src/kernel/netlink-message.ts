/**
 * Netlink messages as bytes (RFC 3549, netlink(7)): pure, no socket. Headers are in the host's order (little-endian on
 * every machine that Sallyport runs on), values of netfilter attributes in network order.
 */

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
/** sizeof(struct nlmsghdr) */
export const HEADER = 16;
/** sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg): where the attributes of a netfilter message begin. */
export const NETFILTER_HEADER = 20;

const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

export function align4(length: number): number {
  return (length + 3) & ~3;
}

/** The type of a netfilter message: subsystem and command. */
export function netfilterType(subsystem: number, command: number): number {
  return (subsystem << 8) | command;
}

/** Appends messages to a buffer of fixed size. Throws a RangeError when it is full: the sizes are our own. */
export class MessageWriter {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private start = 0;
  length = 0;

  constructor(size = 4096) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  clear(): void {
    this.length = 0;
  }

  /** Opens a netfilter message; `resource` is nfgenmsg.res_id. Close it with `end`. */
  begin(type: number, flags: number, sequence: number, family: number, resource: number): this {
    const at = this.head(type, flags, sequence);
    this.view.setUint8(at, family);
    this.view.setUint8(at + 1, 0);
    this.view.setUint16(at + 2, resource, false);
    this.length = at + NETFILTER_HEADER - HEADER;
    return this;
  }

  /** Opens a message of any family; `header` is what stands before its attributes, a multiple of four bytes. Close it with `end`. */
  beginWith(type: number, flags: number, sequence: number, header: Uint8Array): this {
    const at = this.head(type, flags, sequence);
    this.bytes.set(header, at);
    this.length = at + header.length;
    return this;
  }

  /** Returns where the rest of the message begins. */
  private head(type: number, flags: number, sequence: number): number {
    const at = this.length;
    this.start = at;
    this.view.setUint32(at, 0, true);
    this.view.setUint16(at + 4, type, true);
    this.view.setUint16(at + 6, flags, true);
    this.view.setUint32(at + 8, sequence, true);
    this.view.setUint32(at + 12, 0, true);
    return at + HEADER;
  }

  end(): this {
    this.view.setUint32(this.start, this.length - this.start, true);
    return this;
  }

  private attribute(type: number, length: number): number {
    const at = this.length;
    this.view.setUint16(at, 4 + length, true);
    this.view.setUint16(at + 2, type, true);
    this.length = at + 4 + align4(length);
    this.bytes.fill(0, at + 4 + length, this.length);
    return at + 4;
  }

  u8(type: number, value: number): this {
    const at = this.attribute(type, 1);
    this.bytes[at] = value;
    return this;
  }

  /** 16 bits in network order. */
  u16(type: number, value: number): this {
    const at = this.attribute(type, 2);
    this.view.setUint16(at, value, false);
    return this;
  }

  /** 32 bits in network order. */
  u32(type: number, value: number): this {
    const at = this.attribute(type, 4);
    this.view.setUint32(at, value >>> 0, false);
    return this;
  }

  data(type: number, value: Uint8Array): this {
    const at = this.attribute(type, value.length);
    this.bytes.set(value, at);
    return this;
  }

  /** Attributes written inside `body` become children of this one. */
  nested(type: number, body: (writer: this) => void): this {
    const at = this.attribute(type | NESTED, 0) - 4;
    body(this);
    this.view.setUint16(at, this.length - at, true);
    return this;
  }

  message(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * Walks the attributes in `[start, end)`: `for (r.open(...); r.next(); ) r.type ... r.start ... r.end`. An attribute
 * that claims more than there is ends the walk; nothing outside the range is ever read.
 */
export class AttributeReader {
  bytes: Uint8Array;
  type = 0;
  start = 0;
  end = 0;
  private position = 0;
  private limit = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.open(bytes, start, end);
  }

  open(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.position = start;
    this.limit = Math.min(end, bytes.length);
  }

  next(): boolean {
    const at = this.position;
    if (at + 4 > this.limit) return false;
    const length = this.bytes[at]! | (this.bytes[at + 1]! << 8);
    if (length < 4 || at + length > this.limit) return false;
    this.type = (this.bytes[at + 2]! | (this.bytes[at + 3]! << 8)) & TYPE_MASK;
    this.start = at + 4;
    this.end = at + length;
    this.position = at + align4(length);
    return true;
  }
}

/** 16 bits in network order at `at`; 0 where `end` comes first. */
export function readU16(bytes: Uint8Array, at: number, end: number): number {
  return at + 2 > end ? 0 : (bytes[at]! << 8) | bytes[at + 1]!;
}

/** 32 bits in network order at `at`, unsigned; 0 where `end` comes first. */
export function readU32(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return 0;
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** 64 bits in network order as a number (exact below 2^53); 0 where `end` comes first. */
export function readU64(bytes: Uint8Array, at: number, end: number): number {
  return at + 8 > end ? 0 : readU32(bytes, at, end) * 4294967296 + readU32(bytes, at + 4, end);
}

/** 32 bits in the host's order at `at`, unsigned; 0 where `end` comes first. */
export function readHostU32(bytes: Uint8Array, at: number, end: number): number {
  return at + 4 > end ? 0 : hostU32(bytes, at);
}

/** 64 bits in the host's order (little-endian) at `at`; exact up to 2^53; 0 where `end` comes first. */
export function readHostU64(bytes: Uint8Array, at: number, end: number): number {
  return at + 8 > end ? 0 : hostU32(bytes, at) + hostU32(bytes, at + 4) * 4294967296;
}

function hostU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** The bytes after the header: `[start, end)` of the datagram. */
  readonly start: number;
  readonly end: number;
}

/** The messages of one datagram, in order. A header that claims more than there is ends the list. */
export function readMessages(bytes: Uint8Array, length: number): Message[] {
  const messages: Message[] = [];
  let at = 0;
  while (at + HEADER <= length) {
    const size = hostU32(bytes, at);
    if (size < HEADER || at + size > length) break;
    messages.push({
      type: bytes[at + 4]! | (bytes[at + 5]! << 8),
      flags: bytes[at + 6]! | (bytes[at + 7]! << 8),
      sequence: hostU32(bytes, at + 8),
      start: at + HEADER,
      end: at + size,
    });
    at += align4(size);
  }
  return messages;
}

const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

export interface Acknowledgement {
  /** Error number, 0 for success. */
  readonly errno: number;
  /** What the kernel says about it (extended acknowledgement), or "". */
  readonly text: string;
}

/** Reads an NLMSG_ERROR message; a truncated one is success 0 without text. */
export function readAcknowledgement(bytes: Uint8Array, message: Message): Acknowledgement {
  if (message.start + 4 > message.end) return { errno: 0, text: "" };
  const errno = -(hostU32(bytes, message.start) | 0);
  let text = "";
  if ((message.flags & NLM_F_ACK_TLVS) !== 0 && message.start + 4 + HEADER <= message.end) {
    const inner = (message.flags & NLM_F_CAPPED) !== 0 ? HEADER : hostU32(bytes, message.start + 4);
    const reader = new AttributeReader(bytes, message.start + 4 + align4(inner), message.end);
    while (reader.next()) {
      if (reader.type !== NLMSGERR_ATTR_MSG) continue;
      const stop = bytes.indexOf(0, reader.start);
      text = new TextDecoder().decode(bytes.subarray(reader.start, stop >= 0 && stop < reader.end ? stop : reader.end));
    }
  }
  return { errno: errno === 0 ? 0 : errno, text };
}
