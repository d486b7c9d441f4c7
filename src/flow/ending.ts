import { ByteReader, type Page, pageOf } from "./bytes.ts";
import type { FlowTuple } from "./event.ts";
import { readAddress } from "./event-codec.ts";

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

/** An ending as it lies in memory, borrowed: fields are read when they are asked for. */
export class PackedEnding implements FlowEnding {
  page: Page = pageOf(new Uint8Array(ENDING_BYTES));
  at = 0;
  readonly #reader = new ByteReader(new Uint8Array(0));

  get flow(): FlowTuple {
    const { page, at } = this;
    const reader = this.#reader;
    reader.open(page, at + ENDING.client, at + ENDING.asked);
    const client = readAddress(reader);
    const server = readAddress(reader);
    return { protocol: this.protocol, client, server, clientPort: reader.half(), serverPort: reader.half() };
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

/** Writes an ending; `at` is a multiple of 4. */
export function packEnding(ending: FlowEnding, { bytes, view }: Page, at: number): void {
  const { flow } = ending;
  bytes[at] = flow.protocol;
  bytes[at + ENDING.lastSeen] = LAST_SEEN.indexOf(ending.lastSeen);
  view.setUint16(at + ENDING.askedPort, ending.askedPort);
  view.setUint32(at + ENDING.mark, ending.mark);
  packAddress(view, at + ENDING.client, flow.client);
  packAddress(view, at + ENDING.server, flow.server);
  view.setUint16(at + ENDING.clientPort, flow.clientPort);
  view.setUint16(at + ENDING.serverPort, flow.serverPort);
  packAddress(view, at + ENDING.asked, ending.asked);
  view.setFloat64(at + ENDING.stop, ending.stop);
  view.setFloat64(at + ENDING.sentPackets, ending.sentPackets);
  view.setFloat64(at + ENDING.sentBytes, ending.sentBytes);
  view.setFloat64(at + ENDING.receivedPackets, ending.receivedPackets);
  view.setFloat64(at + ENDING.receivedBytes, ending.receivedBytes);
  view.setFloat64(at + ENDING.durationMs, ending.durationMs);
}

function packAddress(view: DataView, at: number, address: FlowTuple["server"]): void {
  view.setUint32(at, address.w0);
  view.setUint32(at + 4, address.w1);
  view.setUint32(at + 8, address.w2);
  view.setUint32(at + 12, address.w3);
}
