/** DNS messages for tests (RFC 1035 §4). Names are written without compression unless raw bytes are given. */
import { ascii, concat, u16 } from "./hello.ts";

export interface RecordParts {
  readonly name: string | Uint8Array;
  readonly type: number;
  readonly class?: number;
  readonly ttl?: number;
  readonly data: Uint8Array;
}

export interface MessageParts {
  readonly id?: number;
  readonly response?: boolean;
  readonly truncated?: boolean;
  readonly recursionDesired?: boolean;
  readonly rcode?: number;
  readonly questions?: readonly {
    readonly name: string | Uint8Array;
    readonly type: number;
    readonly class?: number;
  }[];
  readonly answers?: readonly RecordParts[];
  readonly authority?: readonly RecordParts[];
  readonly additional?: readonly RecordParts[];
}

export function dnsMessage(parts: MessageParts): Uint8Array {
  const flags =
    (parts.response ? 0x8080 : 0) |
    (parts.truncated ? 0x0200 : 0) |
    (parts.recursionDesired === false ? 0 : 0x0100) |
    (parts.rcode ?? 0);
  const sections = [parts.answers ?? [], parts.authority ?? [], parts.additional ?? []];
  return concat(
    u16(parts.id ?? 0x1234),
    u16(flags),
    u16(parts.questions?.length ?? 0),
    ...sections.map((section) => u16(section.length)),
    ...(parts.questions ?? []).map((q) => concat(wireName(q.name), u16(q.type), u16(q.class ?? 1))),
    ...sections.flat().map(dnsRecord),
  );
}

export function dnsRecord(record: RecordParts): Uint8Array {
  const ttl = record.ttl ?? 300;
  return concat(
    wireName(record.name),
    u16(record.type),
    u16(record.class ?? 1),
    u16(Math.floor(ttl / 65536)),
    u16(ttl % 65536),
    u16(record.data.length),
    record.data,
  );
}

/** A name in wire form; bytes are taken as they are. */
export function wireName(name: string | Uint8Array): Uint8Array {
  if (typeof name !== "string") return name;
  const labels = name.split(".").filter((label) => label !== "");
  return concat(...labels.map((label) => concat([label.length], ascii(label))), [0]);
}

export function query(name: string | Uint8Array, type = 1, options: { edns?: number; id?: number } = {}): Uint8Array {
  const additional = options.edns === undefined ? [] : [opt(options.edns)];
  return dnsMessage({ id: options.id ?? 0x1234, questions: [{ name, type }], additional });
}

export function opt(payloadSize: number): RecordParts {
  return { name: "", type: 41, class: payloadSize, ttl: 0x8000, data: new Uint8Array(0) };
}

export function a(name: string | Uint8Array, dotted: string, ttl = 300): RecordParts {
  return { name, type: 1, ttl, data: Uint8Array.from(dotted.split("."), Number) };
}

/** `words`: eight 16-bit groups. */
export function aaaa(name: string, words: readonly number[], ttl = 300): RecordParts {
  return { name, type: 28, ttl, data: concat(...words.map(u16)) };
}

export function cname(name: string | Uint8Array, target: string | Uint8Array, ttl = 300): RecordParts {
  return { name, type: 5, ttl, data: wireName(target) };
}

/** An HTTPS record; parameters are written in the order given. */
export function https(
  name: string,
  priority: number,
  target: string,
  parameters: readonly (readonly [number, Uint8Array])[],
): RecordParts {
  const encoded = parameters.map(([key, value]) => concat(u16(key), u16(value.length), value));
  return { name, type: 65, data: concat(u16(priority), wireName(target), ...encoded) };
}
