import type { Workload } from "../model/workload.ts";
import { formatAddress } from "../net/address.ts";
import { NULL_TEXT } from "./bytes.ts";
import { describeWorkload, PROTOCOL_NAMES, RECORD_EVENT, WITH_PORTS } from "./describe.ts";
import { APPLICATIONS, AT, KINDS } from "./event-codec.ts";
import { bytesOf, escapeUnsafe, quoted } from "./json-text.ts";
import { workloadText } from "./line.ts";
import type { PackedEvent } from "./packed-event.ts";

/** Where lines are written to: whole ones up to `length`. */
export interface LinePage {
  readonly bytes: Uint8Array;
  length: number;
}

/** What only the end of a flow has. */
export interface EndCounts {
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly durationMs: number;
}

export interface LineEnd {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly closedBy: string;
  /** Null: nobody knows. */
  readonly counts: EndCounts | null;
}

/** A line is never longer than this and its workload and outcomes: of a text, each byte may become six. */
const MOST_BESIDES = 6 * (255 + 32 + 1024) + 1024;
const TIME_BYTES = 24;
const MILLISECONDS_AT = 20;
const TIME_AT = '{"time":"'.length;
const IPV4_AT = 12;
const NEWLINE = 10;
const COPY_BY_HAND = 24;

/**
 * Writes lines of the flow log straight from packed events: the bytes of `formatLine(recordOf(...))`, which is what a line means, without an
 * object or a string in between: a busy node writes one for each HTTP request, beside the packet lane on the same cores.
 */
export class LineWriter {
  #run = "";
  readonly #heads = new Map<string, Uint8Array>();
  readonly #workloads = new WeakMap<Workload, Uint8Array>();
  readonly #middles = new Map<number, Uint8Array>();
  readonly #octets = Array.from({ length: 256 }, (_, value) => bytesOf(String(value)));
  #second = Number.NaN;
  #time: Uint8Array = new Uint8Array(TIME_BYTES);
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** Room that the line of an event takes at most. */
  room(event: PackedEvent, workload: Workload | null): number {
    const outcomes = event.outcome.bytes.length + (event.auditOutcome?.bytes.length ?? 0);
    return MOST_BESIDES + outcomes + (workload === null ? 0 : this.#workloadBytes(workload).length);
  }

  /** Appends the line of a decision, a request or a DNS question; the page has `room`. `run`: of the agent that numbered the flow. */
  event(page: LinePage, event: PackedEvent, workload: Workload | null, run: string): void {
    this.#begin(page, event, RECORD_EVENT[KINDS[event.page.bytes[event.at]!]!], event.time, workload, run);
    if (event.has(AT.method)) {
      this.#text(METHOD);
      this.#quote(event, event.at + AT.texts + event.size(AT.name), event.size(AT.method), false);
    }
    if (event.has(AT.path)) {
      this.#text(PATH);
      const at = event.at + AT.texts + event.size(AT.name) + event.size(AT.method);
      this.#quote(event, at, event.size(AT.path), true);
    }
    this.#byte(0x2c);
    this.#text(event.outcome.bytes);
    if (event.auditOutcome !== null) {
      this.#text(AUDIT);
      this.#text(event.auditOutcome.bytes);
      this.#byte(0x7d);
    }
    this.#finish(page);
  }

  /** Appends the line of the end of a flow, which is given as it was decided. */
  end(page: LinePage, flow: PackedEvent, end: LineEnd, workload: Workload | null, run: string): void {
    this.#begin(page, flow, "end", end.time, workload, run);
    this.#byte(0x2c);
    this.#text(flow.outcome.bytes);
    if (end.counts !== null) this.#counts(end.counts);
    this.#text(CLOSED_BY);
    this.#ascii(end.closedBy);
    this.#byte(0x22);
    this.#finish(page);
  }

  #counts(counts: EndCounts): void {
    this.#text(SENT);
    this.#number(counts.sentPackets);
    this.#text(BYTES);
    this.#number(counts.sentBytes);
    this.#text(RECEIVED);
    this.#number(counts.receivedPackets);
    this.#text(BYTES);
    this.#number(counts.receivedBytes);
    this.#text(DURATION);
    this.#number(counts.durationMs);
  }

  #begin(page: LinePage, event: PackedEvent, name: string, time: number, workload: Workload | null, run: string): void {
    this.#bytes = page.bytes;
    this.#at = page.length;
    const { bytes, view } = event.page;
    const at = event.at;
    this.#copy(this.#head(name, run));
    this.#stamp(time, page.length + TIME_AT);
    this.#number(event.flowId);
    this.#byte(0x22);
    if (workload !== null) this.#copy(this.#workloadBytes(workload));
    const ports = WITH_PORTS.has(bytes[at + AT.protocol]!);
    this.#text(SOURCE);
    this.#address(event, AT.client);
    this.#endPoint(ports, view.getUint16(at + AT.clientPort));
    this.#text(DESTINATION);
    if (event.has(AT.name)) {
      this.#text(NAME);
      this.#quote(event, at + AT.texts, event.size(AT.name), false);
      this.#byte(0x2c);
    }
    this.#text(ADDRESS);
    this.#address(event, AT.server);
    this.#endPoint(ports, view.getUint16(at + AT.serverPort));
    this.#text(this.#middle(bytes[at + AT.protocol]!, bytes[at + AT.application]!));
  }

  #finish(page: LinePage): void {
    this.#byte(0x7d);
    this.#byte(NEWLINE);
    page.length = this.#at;
  }

  /** Up to the number of the flow; the time is put in later. */
  #head(event: string, run: string): Uint8Array {
    const known = this.#heads.get(event);
    if (known !== undefined && this.#run === run) return known;
    if (this.#run !== run) this.#heads.clear();
    this.#run = run;
    const head = bytesOf(`{"time":"${" ".repeat(TIME_BYTES)}","event":"${event}","flowId":"${run}-`);
    this.#heads.set(event, head);
    return head;
  }
  /** Records of a busy second differ in their milliseconds. */
  #stamp(time: number, at: number): void {
    const second = Math.floor(time / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#time = bytesOf(new Date(second * 1000).toISOString());
    }
    const stamp = this.#time;
    const bytes = this.#bytes;
    for (let i = 0; i < MILLISECONDS_AT; i++) bytes[at + i] = stamp[i]!;
    const milliseconds = Math.trunc(time) - second * 1000;
    const tens = (milliseconds / 10) | 0;
    const hundreds = (tens / 10) | 0;
    bytes[at + MILLISECONDS_AT] = 0x30 + hundreds;
    bytes[at + MILLISECONDS_AT + 1] = 0x30 + tens - hundreds * 10;
    bytes[at + MILLISECONDS_AT + 2] = 0x30 + milliseconds - tens * 10;
    bytes[at + MILLISECONDS_AT + 3] = 0x5a;
  }

  #workloadBytes(workload: Workload): Uint8Array {
    const known = this.#workloads.get(workload);
    if (known !== undefined) return known;
    const made = bytesOf(`,"workload":${escapeUnsafe(workloadText(describeWorkload(workload)))}`);
    this.#workloads.set(workload, made);
    return made;
  }

  #middle(protocol: number, application: number): Uint8Array {
    const key = protocol * 256 + application;
    const known = this.#middles.get(key);
    if (known !== undefined) return known;
    const name = PROTOCOL_NAMES.get(protocol) ?? String(protocol);
    const made = bytesOf(`,"protocol":"${name}","application":"${APPLICATIONS[application]!}"`);
    this.#middles.set(key, made);
    return made;
  }

  #address(event: PackedEvent, field: number): void {
    const { bytes, view } = event.page;
    const at = event.at + field;
    if (view.getUint32(at) === 0 && view.getUint32(at + 4) === 0 && view.getUint32(at + 8) === NULL_TEXT) {
      this.#text(this.#octets[bytes[at + IPV4_AT]!]!);
      for (let i = 1; i < 4; i++) {
        this.#byte(0x2e);
        this.#text(this.#octets[bytes[at + IPV4_AT + i]!]!);
      }
      return;
    }
    const word = (index: number): number => view.getUint32(at + 4 * index);
    this.#ascii(formatAddress({ w0: word(0), w1: word(1), w2: word(2), w3: word(3) }));
  }

  #endPoint(ports: boolean, port: number): void {
    if (!ports) {
      this.#byte(0x22);
      this.#byte(0x7d);
      return;
    }
    this.#text(PORT);
    this.#number(port);
    this.#byte(0x7d);
  }

  /** `path`: ends before a query. Queries carry tokens and personal data; a log is not the place to trust that there is none. */
  #quote(event: PackedEvent, from: number, size: number, path: boolean): void {
    const source = event.page.bytes;
    const bytes = this.#bytes;
    const before = this.#at;
    let at = before;
    bytes[at++] = 0x22;
    for (let i = from; i < from + size; i++) {
      const c = source[i]!;
      if (path && (c === 0x3f || c === 0x23)) break;
      if (c < 0x20 || c === 0x22 || c === 0x5c || c >= 0x7f) {
        this.#at = before;
        this.#copy(bytesOf(quoted(queryless(source.slice(from, from + size), path))));
        return;
      }
      bytes[at++] = c;
    }
    bytes[at++] = 0x22;
    this.#at = at;
  }

  #number(value: number): void {
    if (value >= 0x7fffffff || value < 0 || !Number.isInteger(value)) {
      this.#ascii(String(value));
      return;
    }
    const bytes = this.#bytes;
    let digits = 1;
    for (let bound = 10; bound <= value; bound *= 10) digits++;
    let rest = value | 0;
    this.#at += digits;
    for (let at = this.#at - 1; digits > 0; digits--, at--) {
      const next = (rest / 10) | 0;
      bytes[at] = 0x30 + rest - next * 10;
      rest = next;
    }
  }

  /** Short bytes. */
  #text(text: Uint8Array): void {
    if (text.length > COPY_BY_HAND) {
      this.#copy(text);
      return;
    }
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = 0; i < text.length; i++) bytes[at++] = text[i]!;
    this.#at = at;
  }

  #copy(text: Uint8Array): void {
    this.#bytes.set(text, this.#at);
    this.#at += text.length;
  }

  /** A text of nothing else but ASCII. */
  #ascii(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#at++] = text.charCodeAt(i);
  }

  #byte(value: number): void {
    this.#bytes[this.#at++] = value;
  }
}

const METHOD = bytesOf(',"method":');
const PATH = bytesOf(',"path":');
const AUDIT = bytesOf(',"audit":{');
const SOURCE = bytesOf(',"source":{"address":"');
const DESTINATION = bytesOf(',"destination":{');
const NAME = bytesOf('"name":');
const ADDRESS = bytesOf('"address":"');
const PORT = bytesOf('","port":');
const SENT = bytesOf(',"sent":{"packets":');
const BYTES = bytesOf(',"bytes":');
const RECEIVED = bytesOf('},"received":{"packets":');
const DURATION = bytesOf('},"durationMs":');
const CLOSED_BY = bytesOf(',"closedBy":"');

function queryless(utf8: Uint8Array, path: boolean): string {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(utf8);
  const at = path ? text.search(/[?#]/) : -1;
  return at < 0 ? text : text.slice(0, at);
}
