import { type Address, addressToBytes } from "../net/address.ts";
import { SystemError } from "./libc.ts";
import { NetlinkSocket } from "./netlink.ts";
import { align4, MessageWriter, NLM_F_ACK, NLM_F_REQUEST, netfilterType } from "./netlink-message.ts";

/**
 * Elements of nft sets, changed by raw netlink: one system call where the `nft` program takes milliseconds. Only for sets whose
 * elements come and go while the rules stay. linux/netfilter/nfnetlink.h, nf_tables.h.
 */

const NFTABLES = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NEW_ELEMENTS = 12;
const DELETE_ELEMENTS = 14;
const NLM_F_CREATE = 0x400;
const NFPROTO_INET = 1;

const LIST = { table: 1, set: 2, elements: 3 } as const;
const LIST_ITEM = 1;
const ELEMENT = { key: 1, data: 2, timeout: 4 } as const;
const DATA_VALUE = 1;

/** Elements of one call: the attribute that holds them has 16 bits for its length. */
export const MOST_ELEMENTS = 256;
const MOST_SETS = 16;
const MOST_KEY = 64;
/** Of one element beside its key: item, key, value and timeout attribute. */
const ELEMENT_FRAME = 4 + 4 + 4 + 12;
const BUFFER = MOST_ELEMENTS * (ELEMENT_FRAME + MOST_KEY) + 1024;

export type SetChange =
  | { readonly kind: "add"; readonly set: string; readonly keys: readonly Uint8Array[]; readonly timeoutMs: number }
  | { readonly kind: "delete"; readonly set: string; readonly keys: readonly Uint8Array[] }
  | { readonly kind: "flush"; readonly sets: readonly string[] }
  /** What is removed has to be there. At most MOST_ELEMENTS in all. */
  | {
      readonly kind: "update";
      readonly sets: readonly {
        readonly set: string;
        readonly added: readonly Uint8Array[];
        readonly removed: readonly Uint8Array[];
      }[];
    }
  /** Everything that is in them goes, and these come, at once. */
  | {
      readonly kind: "replace";
      readonly sets: readonly { readonly set: string; readonly elements: readonly SetElement[] }[];
    };

/** Of a map with its value. */
export interface SetElement {
  readonly key: Uint8Array;
  readonly data?: Uint8Array;
}

/** One field of a concatenated key: an address, or a number of `bytes` bytes in network order. */
export type KeyField = Address | { readonly value: number; readonly bytes: 1 | 2 };

/** The key of a concatenation (`ipv4_addr . inet_proto . inet_service`, ...): every field begins at a multiple of four. */
export function concatenatedKey(fields: readonly KeyField[]): Uint8Array {
  const parts = fields.map((field) => ("w0" in field ? addressToBytes(field) : numberBytes(field.value, field.bytes)));
  const key = new Uint8Array(parts.reduce((length, part) => length + align4(part.length), 0));
  let at = 0;
  for (const part of parts) {
    key.set(part, at);
    at += align4(part.length);
  }
  return key;
}

function numberBytes(value: number, bytes: 1 | 2): Uint8Array {
  return bytes === 1 ? Uint8Array.of(value) : Uint8Array.of(value >> 8, value & 0xff);
}

/**
 * Writes the transaction for `change` in table `inet TABLE`. All messages bear `sequence`; the last change asks for the
 * acknowledgement, and the kernel tells of every change that fails. Throws a RangeError beyond the limits above.
 */
export function writeSetChange(writer: MessageWriter, table: string, change: SetChange, sequence: number): void {
  writer.clear();
  writer.begin(BATCH_BEGIN, NLM_F_REQUEST, sequence, 0, NFTABLES).end();
  if (change.kind === "flush") {
    if (change.sets.length > MOST_SETS) throw new RangeError(`more than ${MOST_SETS} sets in one change`);
    change.sets.forEach((set, index) => {
      const last = index === change.sets.length - 1 ? NLM_F_ACK : 0;
      begin(writer, DELETE_ELEMENTS, NLM_F_REQUEST | last, sequence, table, set).end();
    });
  } else if (change.kind === "replace") writeReplacement(writer, table, change.sets, sequence);
  else if (change.kind === "update") writeUpdate(writer, table, change.sets, sequence);
  else writeElements(writer, table, change, sequence);
  writer.begin(BATCH_END, NLM_F_REQUEST, sequence, 0, NFTABLES).end();
}

function writeReplacement(
  writer: MessageWriter,
  table: string,
  sets: Extract<SetChange, { kind: "replace" }>["sets"],
  sequence: number,
): void {
  if (sets.length === 0 || sets.length > MOST_SETS) throw new RangeError(`${sets.length} sets in one change`);
  for (const [index, { set, elements }] of sets.entries()) {
    if (elements.length > MOST_ELEMENTS) throw new RangeError(`more than ${MOST_ELEMENTS} elements of \`${set}\``);
    const last = index === sets.length - 1 ? NLM_F_ACK : 0;
    const flushed = elements.length === 0 ? last : 0;
    begin(writer, DELETE_ELEMENTS, NLM_F_REQUEST | flushed, sequence, table, set).end();
    if (elements.length === 0) continue;
    begin(writer, NEW_ELEMENTS, NLM_F_REQUEST | NLM_F_CREATE | last, sequence, table, set)
      .nested(LIST.elements, (list) => {
        for (const { key, data } of elements) {
          list.nested(LIST_ITEM, (element) => {
            element.nested(ELEMENT.key, (value) => value.data(DATA_VALUE, key));
            if (data !== undefined) element.nested(ELEMENT.data, (value) => value.data(DATA_VALUE, data));
          });
        }
      })
      .end();
  }
}

function writeUpdate(
  writer: MessageWriter,
  table: string,
  sets: Extract<SetChange, { kind: "update" }>["sets"],
  sequence: number,
): void {
  const count = sets.reduce((sum, { added, removed }) => sum + added.length + removed.length, 0);
  if (sets.length > MOST_SETS || count === 0 || count > MOST_ELEMENTS) {
    throw new RangeError(`${count} elements of ${sets.length} sets in one change`);
  }
  const parts = sets.flatMap(({ set, added, removed }) => [
    { type: DELETE_ELEMENTS, create: 0, set, keys: removed },
    { type: NEW_ELEMENTS, create: NLM_F_CREATE, set, keys: added },
  ]);
  // Without elements the kernel would take a deletion for a flush.
  const filled = parts.filter(({ keys }) => keys.length > 0);
  for (const [index, { type, create, set, keys }] of filled.entries()) {
    const last = index === filled.length - 1 ? NLM_F_ACK : 0;
    begin(writer, type, NLM_F_REQUEST | create | last, sequence, table, set)
      .nested(LIST.elements, (list) => {
        for (const key of keys) {
          list.nested(LIST_ITEM, (element) => element.nested(ELEMENT.key, (value) => value.data(DATA_VALUE, key)));
        }
      })
      .end();
  }
}

function writeElements(
  writer: MessageWriter,
  table: string,
  change: Extract<SetChange, { kind: "add" | "delete" }>,
  sequence: number,
): void {
  // Without elements the kernel would take a deletion for a flush.
  if (change.keys.length === 0 || change.keys.length > MOST_ELEMENTS) {
    throw new RangeError(`${change.keys.length} elements in one change, not 1 to ${MOST_ELEMENTS}`);
  }
  if (change.keys.some((key) => key.length === 0 || key.length > MOST_KEY)) {
    throw new RangeError(`a key of \`${change.set}\` is not of 1 to ${MOST_KEY} bytes`);
  }
  const type = change.kind === "add" ? NEW_ELEMENTS : DELETE_ELEMENTS;
  const flags = NLM_F_REQUEST | NLM_F_ACK | (change.kind === "add" ? NLM_F_CREATE : 0);
  const timeout = change.kind === "add" && change.timeoutMs > 0 ? milliseconds(change.timeoutMs) : null;
  begin(writer, type, flags, sequence, table, change.set)
    .nested(LIST.elements, (list) => {
      for (const key of change.keys) {
        list.nested(LIST_ITEM, (element) => {
          element.nested(ELEMENT.key, (data) => data.data(DATA_VALUE, key));
          if (timeout !== null) element.data(ELEMENT.timeout, timeout);
        });
      }
    })
    .end();
}

function begin(
  writer: MessageWriter,
  command: number,
  flags: number,
  sequence: number,
  table: string,
  set: string,
): MessageWriter {
  return writer
    .begin(netfilterType(NFTABLES, command), flags, sequence, NFPROTO_INET, 0)
    .data(LIST.table, name(table))
    .data(LIST.set, name(set));
}

const NAMES = new Map<string, Uint8Array>();

/** The bytes of a name with the closing NUL. Ours are few and constant. */
function name(text: string): Uint8Array {
  let bytes = NAMES.get(text);
  if (bytes === undefined) {
    bytes = new TextEncoder().encode(`${text}\0`);
    NAMES.set(text, bytes);
  }
  return bytes;
}

/** 64 bits in network order. */
function milliseconds(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.ceil(value)));
  return bytes;
}

/**
 * Changes elements of the sets of one `inet` table in the namespace of the calling thread. A call blocks until the kernel has
 * committed: microseconds, longer only while another transaction holds nftables.
 */
export class SetElements {
  private readonly table: string;
  private readonly socket = new NetlinkSocket(8192);
  private readonly writer = new MessageWriter(BUFFER);

  constructor(table: string) {
    this.table = table;
  }

  /**
   * Returns 0 when committed, else the error number and nothing has changed: ENOENT where the table, a set or a deleted element
   * is gone, ENFILE where the set is full. Adding what is there is no error. Throws a RangeError beyond the limits above.
   */
  change(change: SetChange): number {
    if (change.kind === "update" && change.sets.length === 0) return 0;
    const sequence = this.socket.nextSequence();
    writeSetChange(this.writer, this.table, change, sequence);
    if (change.kind === "flush" && change.sets.length === 0) return 0;
    try {
      this.socket.request("change set elements", this.writer.message(), sequence);
      return 0;
    } catch (error) {
      if (error instanceof SystemError) return error.errno;
      throw error;
    }
  }

  close(): void {
    this.socket.close();
  }
}
