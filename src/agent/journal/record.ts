import { type ByteReader, ByteWriter } from "../../flow/bytes.ts";
import type { FlowEvent, FlowTuple } from "../../flow/event.ts";
import {
  AT,
  MAX_EVENT_BYTES,
  readAddress,
  readDecision,
  readTuple,
  writeAddress,
  writeTuple,
} from "../../flow/event-codec.ts";
import type { LiveFlow } from "../../flow/live-flows.ts";
import { Outcome } from "../../flow/outcome.ts";
import { PackedEvent } from "../../flow/packed-event.ts";
import type { Facts } from "../../model/facts.ts";
import type { Binding } from "../../names/table.ts";
import { sameAddress } from "../../net/address.ts";
import { parseDnsName } from "../../net/name.ts";
import { ICMP, ICMPV6 } from "../../net/ports.ts";

/** A record is never longer. What does not fit is not remembered: half a chain of aliases would help a flow. */
export const MAX_RECORD_BYTES = 8192;

const KIND = { binding: 1, opened: 2, closed: 3 } as const;
const MOST = { key: 600, run: 16, name: 253, aliases: 256, method: 32, path: 1024, text: 544 };
const LAST_TIME = 8.64e15;

/** `key` names the workload across restarts (workloads/identity.ts); ids are given anew by each run. */
export type JournalRecord =
  | { readonly kind: "binding"; readonly key: string; readonly binding: Omit<Binding, "workloadId"> }
  | { readonly kind: "opened"; readonly key: string; readonly flow: RememberedFlow }
  | { readonly kind: "closed"; readonly tuple: FlowTuple };

/** An open flow, with the run of the agent that numbered it. */
export type RememberedFlow = Omit<LiveFlow, "workloadId" | "run"> & { readonly run: string };

/** Writes records into a buffer of its own. The methods return the length, or 0 where the record does not fit. */
export class RecordEncoder {
  readonly #writer = new ByteWriter(MAX_RECORD_BYTES);

  get bytes(): Uint8Array {
    return this.#writer.bytes;
  }

  binding(key: string, binding: Omit<Binding, "workloadId">): number {
    const writer = this.#begin(KIND.binding);
    writeAddress(writer, binding.address);
    writer.float(binding.expires);
    writer.half(binding.aliases.length);
    let fits = writer.whole(key, MOST.key, 0) && writer.whole(binding.name, MOST.name, 0);
    for (const alias of binding.aliases) fits &&= writer.whole(alias, MOST.name, 0);
    return fits ? writer.length : 0;
  }

  /** `flow`: the decision that opened it; `run`: of the agent that numbered it. */
  opened(key: string, run: string, flow: PackedEvent): number {
    const writer = this.#begin(KIND.opened);
    if (!writer.whole(key, MOST.key, MAX_EVENT_BYTES) || !writer.whole(run, MOST.run, MAX_EVENT_BYTES)) return 0;
    const { packed } = flow.outcome;
    writer.copy(packed, 0, packed.bytes.length);
    writer.copy(flow.page, flow.at, flow.length);
    return writer.length;
  }

  closed(flow: FlowTuple | PackedEvent): number {
    const writer = this.#begin(KIND.closed);
    if (flow instanceof PackedEvent) {
      writer.byte(flow.page.bytes[flow.at + AT.protocol]!);
      writer.copy(flow.page, flow.at + AT.client, AT.name - AT.client);
    } else writeTuple(writer, flow);
    return writer.length;
  }

  #begin(kind: number): ByteWriter {
    this.#writer.back(0);
    this.#writer.byte(kind);
    return this.#writer;
  }
}

/**
 * Reads one record. Null: it is none, or says something that no agent would have written. Names come from what pods and
 * DNS servers sent, so they are checked again as if they had just come.
 */
export function decodeRecord(reader: ByteReader): JournalRecord | null {
  const kind = reader.byte();
  if (kind === KIND.binding) return readBinding(reader);
  if (kind === KIND.opened) return readOpened(reader);
  if (kind !== KIND.closed) return null;
  const tuple = readTuple(reader);
  return reader.overrun ? null : { kind: "closed", tuple };
}

function readBinding(reader: ByteReader): JournalRecord | null {
  const address = readAddress(reader);
  const expires = reader.float();
  const count = reader.half();
  const key = reader.text();
  const name = reader.text();
  if (reader.overrun || count > MOST.aliases || !isKey(key) || !isName(name) || !isTime(expires)) return null;
  const aliases: string[] = [];
  for (let at = 0; at < count; at++) {
    const alias = reader.text();
    if (!isName(alias)) return null;
    aliases.push(alias);
  }
  return { kind: "binding", key, binding: { address, name, aliases, expires } };
}

function readOpened(reader: ByteReader): JournalRecord | null {
  const key = reader.text();
  const run = reader.text();
  if (reader.overrun || !isKey(key) || run === null || !/^[0-9a-f]{1,16}$/.test(run)) return null;
  const decision = readDecision(reader);
  if (decision === undefined) return null;
  const event = new PackedEvent();
  const { page, position, end } = reader;
  if (!event.open(page, position, end - position, new Outcome(decision), null)) return null;
  const { flowId, tuple, application, name, time: since, facts: noted } = event;
  if (noted === null || !isRemembered(event, noted)) return null;
  const facts = { ...noted, namesFinal: true, ended: true };
  return { kind: "opened", key, flow: { flowId, run, tuple, application, name, facts, decision, since } };
}

/** The codec of events bounds their size; here is what they may say. */
function isRemembered({ kind, flowId, time, tuple, name, decision }: FlowEvent, facts: Facts): boolean {
  if (kind !== "flow" || decision.action !== "Allow") return false;
  if (!Number.isSafeInteger(flowId) || flowId < 0 || !isTime(time)) return false;
  const protocol = tuple.protocol === ICMPV6 ? ICMP : tuple.protocol;
  if (!sameAddress(facts.address, tuple.server) || facts.port !== tuple.serverPort || facts.protocol !== protocol)
    return false;
  return (
    isNameOrNone(name) &&
    isNameOrNone(facts.evidence) &&
    facts.names.every(isName) &&
    facts.aliases.every(isName) &&
    isPlain(facts.method, MOST.method) &&
    isPlain(facts.path, MOST.path) &&
    isPlain(decision.policy, MOST.text) &&
    isPlain(decision.rule, MOST.text)
  );
}

function isKey(text: string | null): text is string {
  return text !== null && /^[!-~]{1,600}$/.test(text);
}

function isName(text: string | null): text is string {
  return text !== null && parseDnsName(text).ok;
}

function isNameOrNone(text: string | null | undefined): boolean {
  return text === null || text === undefined || isName(text);
}

function isPlain(text: string | null | undefined, most: number): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  return text === null || text === undefined || (text.length <= most && !/[\u0000-\u001f\u007f]/.test(text));
}

function isTime(time: number): boolean {
  return time > 0 && time < LAST_TIME;
}
