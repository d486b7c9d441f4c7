/** ClientHello messages for tests, honest and hostile (RFC 8446 §4.1.2). */

export interface HelloOptions {
  /** One server_name entry each; none: no extension. */
  readonly names?: readonly (string | Uint8Array)[];
  /** Bytes of the padding extension (RFC 7685) put before the server name. */
  readonly padding?: number;
  /** An encrypted_client_hello extension with this many bytes. */
  readonly ech?: number;
  readonly alpn?: readonly string[];
  readonly earlyData?: boolean;
  readonly preSharedKey?: "last" | "first";
  /** More extensions, behind the others: `[type, data]`. */
  readonly extra?: readonly (readonly [number, Uint8Array])[];
  /** Reverses the order of the extensions. */
  readonly reversed?: boolean;
  /** No extensions block at all. */
  readonly bare?: boolean;
  /** A post-quantum key share: adds 1216 bytes before the server name. */
  readonly postQuantum?: boolean;
  /** Greatest size of a record's payload; default: one record. */
  readonly recordSize?: number;
  /** Legacy version of the records. */
  readonly recordVersion?: number;
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function u16(value: number): number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

/** A whole ClientHello in records. */
export function clientHello(options: HelloOptions = {}): Uint8Array {
  return inRecords(helloMessage(options), options.recordSize ?? 1 << 14, options.recordVersion ?? 0x0301);
}

/** The handshake message alone. */
export function helloMessage(options: HelloOptions): Uint8Array {
  const random = Uint8Array.from({ length: 32 }, (_, index) => index * 7);
  const session = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
  const fixed = concat(u16(0x0303), random, [32], session, u16(6), [0x13, 1, 0x13, 2, 0xc0, 0x2f], [1, 0]);
  const extensions = concat(...helloExtensions(options).map(([type, data]) => extension(type, data)));
  const body = options.bare ? fixed : concat(fixed, u16(extensions.length), extensions);
  return concat([1, (body.length >>> 16) & 0xff], u16(body.length), body);
}

/** A handshake message cut into handshake records of at most `size` bytes. */
export function inRecords(message: Uint8Array, size: number, version = 0x0301): Uint8Array {
  const records: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) records.push(record(22, message.subarray(at, at + size), version));
  return concat(...records);
}

export function record(type: number, payload: Uint8Array | readonly number[], version = 0x0301): Uint8Array {
  return concat([type], u16(version), u16(payload.length), payload);
}

export function serverNameData(names: readonly (string | Uint8Array)[]): Uint8Array {
  const entries = names.map((name) => {
    const bytes = typeof name === "string" ? ascii(name) : name;
    return concat([0], u16(bytes.length), bytes);
  });
  const list = concat(...entries);
  return concat(u16(list.length), list);
}

function extension(type: number, data: Uint8Array): Uint8Array {
  return concat(u16(type), u16(data.length), data);
}

function helloExtensions(options: HelloOptions): [number, Uint8Array][] {
  const list: [number, Uint8Array][] = [];
  const preSharedKey: [number, Uint8Array] = [41, new Uint8Array(60)];
  if (options.preSharedKey === "first") list.push(preSharedKey);
  if (options.padding !== undefined) list.push([21, new Uint8Array(options.padding)]);
  list.push([51, keyShare(options.postQuantum ? 1216 : 32)]);
  if (options.names !== undefined) list.push([0, serverNameData(options.names)]);
  if (options.ech !== undefined) list.push([0xfe0d, new Uint8Array(options.ech)]);
  if (options.alpn !== undefined) list.push([16, alpnData(options.alpn)]);
  const groups = options.postQuantum ? [0x11, 0xec, 0, 29, 0, 23] : [0, 29, 0, 23];
  list.push([43, Uint8Array.of(4, 3, 4, 3, 3)], [10, Uint8Array.of(0, groups.length, ...groups)]);
  if (options.earlyData) list.push([42, new Uint8Array(0)]);
  for (const [type, data] of options.extra ?? []) list.push([type, data]);
  if (options.reversed) list.reverse();
  if (options.preSharedKey === "last") list.push(preSharedKey);
  return list;
}

function keyShare(size: number): Uint8Array {
  // Not zero: no server takes a point of small order.
  const entry = concat(u16(size > 32 ? 0x11ec : 29), u16(size), new Uint8Array(size).fill(9));
  return concat(u16(entry.length), entry);
}

function alpnData(protocols: readonly string[]): Uint8Array {
  const list = concat(...protocols.map((protocol) => concat([protocol.length], ascii(protocol))));
  return concat(u16(list.length), list);
}
