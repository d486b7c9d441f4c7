import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { ByteReader, ByteWriter, NULL_TEXT, type Page, pageOf } from "./bytes.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";
import {
  APPLICATIONS,
  AT,
  encodeEvent,
  FLAG,
  KINDS,
  MAX_EVENT_BYTES,
  NO_OUTCOME,
  readEnds,
  readFacts,
  STATES,
  waitedOf,
} from "./event-codec.ts";
import { Outcome } from "./outcome.ts";

/** Nothing is there before something is opened. */
const EMPTY = pageOf(new Uint8Array(MAX_EVENT_BYTES));
const NOTHING = new Outcome({ action: "Deny", policy: null, rule: null, reason: "Malformed" });

/**
 * An event as it lies encoded in memory, borrowed from whoever opened it: each field is read when it is asked for, so that a record
 * that only becomes a line costs no objects. To keep it, copy `page.bytes[at, at + length)`.
 */
export class PackedEvent implements FlowEvent {
  page: Page = EMPTY;
  at = 0;
  length = 0;
  outcome: Outcome = NOTHING;
  auditOutcome: Outcome | null = null;
  readonly #reader = new ByteReader(EMPTY.bytes);

  /** False: these bytes are no event. */
  open(
    page: Page,
    at: number,
    length: number,
    outcome: Outcome | undefined,
    audit: Outcome | null | undefined,
  ): boolean {
    if (length < AT.texts || at + length > page.bytes.length || outcome === undefined || audit === undefined)
      return false;
    this.page = page;
    this.at = at;
    this.length = length;
    this.outcome = outcome;
    this.auditOutcome = audit;
    const { bytes } = page;
    if (bytes[at]! >= KINDS.length || bytes[at + AT.state]! >= STATES.length) return false;
    return bytes[at + AT.application]! < APPLICATIONS.length && this.factsAt - at <= length;
  }

  get kind(): FlowEvent["kind"] {
    return KINDS[this.page.bytes[this.at]!]!;
  }

  get state(): FlowEvent["state"] {
    return STATES[this.page.bytes[this.at + AT.state]!]!;
  }

  get application(): FlowEvent["application"] {
    return APPLICATIONS[this.page.bytes[this.at + AT.application]!]!;
  }

  get flowId(): number {
    return this.page.view.getFloat64(this.at + AT.flowId);
  }

  get time(): number {
    return this.page.view.getFloat64(this.at + AT.time);
  }

  get workloadId(): number {
    return this.page.view.getFloat64(this.at + AT.workloadId);
  }

  get tuple(): FlowTuple {
    this.#reader.open(this.page, this.at + AT.client, this.at + AT.name);
    return readEnds(this.#reader, this.page.bytes[this.at + AT.protocol]!);
  }

  get decision(): Decision {
    return this.outcome.decision;
  }

  get audit(): Decision | null {
    return this.auditOutcome?.decision ?? null;
  }

  get name(): string | null {
    return this.#text(this.at + AT.texts, AT.name);
  }

  get method(): string | null {
    return this.#text(this.at + AT.texts + this.size(AT.name), AT.method);
  }

  get path(): string | null {
    return this.#text(this.at + AT.texts + this.size(AT.name) + this.size(AT.method), AT.path);
  }

  get hasFacts(): boolean {
    return (this.page.bytes[this.at + AT.flags]! & FLAG.facts) !== 0;
  }

  get waited(): number | undefined {
    return waitedOf(this.page.bytes[this.at + AT.flags]!);
  }

  /** Where the facts begin. */
  get factsAt(): number {
    return this.at + AT.texts + this.size(AT.name) + this.size(AT.method) + this.size(AT.path);
  }

  /** Null also where the bytes are none. */
  get facts(): Facts | null {
    if (!this.hasFacts) return null;
    const { name, method, path } = this;
    const reader = this.#reader;
    reader.open(this.page, this.factsAt, this.at + this.length);
    return readFacts(reader, name, method, path);
  }

  /** Bytes of the text whose length stands at `field`; 0 where it is null. */
  size(field: number): number {
    const size = this.page.view.getUint16(this.at + field);
    return size === NULL_TEXT ? 0 : size;
  }

  has(field: number): boolean {
    return this.page.view.getUint16(this.at + field) !== NULL_TEXT;
  }

  #text(at: number, field: number): string | null {
    const reader = this.#reader;
    reader.open(this.page, at, this.at + this.length);
    return reader.bare(this.page.view.getUint16(this.at + field));
  }
}

/** Packs events that did not come through a ring. */
export class EventPacker {
  readonly #page = pageOf(new Uint8Array(MAX_EVENT_BYTES));
  readonly #writer = new ByteWriter(this.#page);
  readonly #packed = new PackedEvent();

  /** Borrowed until the next call. */
  pack(event: FlowEvent): PackedEvent {
    const audit = event.audit === null ? null : new Outcome(event.audit);
    this.#writer.back(0);
    const length = encodeEvent(event, 0, audit === null ? NO_OUTCOME : 0, this.#writer);
    this.#packed.open(this.#page, 0, length, new Outcome(event.decision), audit);
    return this.#packed;
  }
}
