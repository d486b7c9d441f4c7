import { ByteReader, type ByteWriter, type Page, pageOf } from "./bytes.ts";
import type { FlowTuple } from "./event.ts";
import { readAddress, readEnds, writeAddress, writeEnds } from "./event-codec.ts";

/** What the kernel saw last of a flow. TCP: `reset`, `closed` (both ends said so) or `timeout`; others have only the last. */
export const LAST_SEEN = ["reset", "closed", "timeout"] as const;

/** The end of a flow, as conntrack counted it. Times in milliseconds; 0 where accounting was off. */
export interface FlowEnding {
  readonly flow: FlowTuple;
  /** Where the pod sent to, before translation: with `flow`, how conntrack keys the entry. */
  readonly asked: FlowTuple["server"];
  readonly askedPort: number;
  readonly mark: number;
  /** By the clock of the machine: when the entry left, or was due to. */
  readonly stop: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  /** From the first packet to the last. */
  readonly durationMs: number;
  readonly lastSeen: (typeof LAST_SEEN)[number];
}

/** An ending as bytes, all of one size. `client` to `serverPort` lie as in an event (event-codec.ts). */
export const ENDING = {
  protocol: 0,
  lastSeen: 1,
  askedPort: 2,
  mark: 4,
  client: 8,
  server: 24,
  clientPort: 40,
  serverPort: 42,
  asked: 44,
  stop: 64,
  sentPackets: 72,
  sentBytes: 80,
  receivedPackets: 88,
  receivedBytes: 96,
  durationMs: 104,
} as const;
export const ENDING_BYTES = 112;
const ADDRESS_BYTES = 16;

/** An ending as it lies in memory, borrowed: fields are read when they are asked for. */
export class PackedEnding implements FlowEnding {
  page: Page = pageOf(new Uint8Array(ENDING_BYTES));
  at = 0;
  readonly #reader = new ByteReader(new Uint8Array(0));

  get flow(): FlowTuple {
    this.#reader.open(this.page, this.at + ENDING.client, this.at + ENDING.asked);
    return readEnds(this.#reader, this.protocol);
  }

  get protocol(): number {
    return this.page.bytes[this.at]!;
  }

  get asked(): FlowTuple["server"] {
    this.#reader.open(this.page, this.at + ENDING.asked, this.at + ENDING.stop);
    return readAddress(this.#reader);
  }

  get askedPort(): number {
    return this.page.view.getUint16(this.at + ENDING.askedPort);
  }

  get mark(): number {
    return this.page.view.getUint32(this.at + ENDING.mark);
  }

  get stop(): number {
    return this.page.view.getFloat64(this.at + ENDING.stop);
  }

  get sentPackets(): number {
    return this.page.view.getFloat64(this.at + ENDING.sentPackets);
  }

  get sentBytes(): number {
    return this.page.view.getFloat64(this.at + ENDING.sentBytes);
  }

  get receivedPackets(): number {
    return this.page.view.getFloat64(this.at + ENDING.receivedPackets);
  }

  get receivedBytes(): number {
    return this.page.view.getFloat64(this.at + ENDING.receivedBytes);
  }

  get durationMs(): number {
    return this.page.view.getFloat64(this.at + ENDING.durationMs);
  }

  get lastSeen(): FlowEnding["lastSeen"] {
    return LAST_SEEN[this.page.bytes[this.at + ENDING.lastSeen]!] ?? "timeout";
  }
}

/** Writes an ending where the writer stands, in the order of ENDING. */
export function packEnding(ending: FlowEnding, writer: ByteWriter): void {
  writer.byte(ending.flow.protocol);
  writer.byte(LAST_SEEN.indexOf(ending.lastSeen));
  writer.half(ending.askedPort);
  writer.word(ending.mark);
  writeEnds(writer, ending.flow);
  writeAddress(writer, ending.asked);
  writer.skip(ENDING.stop - ENDING.asked - ADDRESS_BYTES);
  writer.float(ending.stop);
  writer.float(ending.sentPackets);
  writer.float(ending.sentBytes);
  writer.float(ending.receivedPackets);
  writer.float(ending.receivedBytes);
  writer.float(ending.durationMs);
}
