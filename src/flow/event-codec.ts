import { type Action, type Decision, REASONS } from "../model/decision.ts";
import type { Application, Facts } from "../model/facts.ts";
import type { Address } from "../net/address.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";

/**
 * An event as bytes: a head of fixed size, so that what is asked of most records is read where it lies, then texts and facts.
 * Decisions are numbers whose meaning is told elsewhere (outcome.ts).
 *
 *      0  kind · state · application · protocol                 u8 each
 *      4  outcome · audit outcome (NO_OUTCOME: none)            u16 each
 *      8  flow id · 16 time · 24 workload id                    f64 each
 *     32  client address · 48 server address                    16 bytes each
 *     64  client port · 66 server port                          u16 each
 *     68  lengths of name · method · path (NULL_TEXT: null)     u16 each
 *     74  FLAG · how long it waited                             4 bits each
 *     75  name · method · path                                  UTF-8
 *      …  facts, if FLAG.facts
 */
export const AT = {
  kind: 0,
  state: 1,
  application: 2,
  protocol: 3,
  outcome: 4,
  audit: 6,
  flowId: 8,
  time: 16,
  workloadId: 24,
  client: 32,
  server: 48,
  clientPort: 64,
  serverPort: 66,
  name: 68,
  method: 70,
  path: 72,
  flags: 74,
  texts: 75,
} as const;
export const NO_OUTCOME = 0xffff;
/** `facts`: they are there. The others: the text was stored whole. */
export const FLAG = { facts: 1, name: 2, method: 4, path: 8 } as const;
/** The upper half of the flags: how long it waited, in steps, rounded up; 0 where that is not known, or longer. */
const WAITED_SHIFT = 4;
const WAITED_STEP_MS = 20;
const MOST_STEPS = 15;

/** An encoded event is never longer. What does not fit is cut: texts at a character, lists at a whole name. */
export const MAX_EVENT_BYTES = 2048;

export const KINDS: readonly FlowEvent["kind"][] = ["flow", "request", "dns"];
export const STATES: readonly FlowEvent["state"][] = ["allowed", "http", "rejected", "none"];
export const APPLICATIONS: readonly Application[] = ["Unknown", "TLS", "QUIC", "HTTP", "DNS", "Other", "ServerFirst"];
const ACTIONS: readonly Action[] = ["Allow", "Deny"];

/** Most bytes of one text. A policy name is `Kind/namespace/name`, each part at most 253 bytes. */
const MOST = { name: 255, method: 32, path: 1024, policy: 544, rule: 128 };
export const MAX_DECISION_BYTES = 2 + 2 + MOST.policy + 2 + MOST.rule;
/** Left free behind the texts for the facts that have a fixed size and for the evidence. */
const FACTS_ROOM = 600;
/** The two marks that end the lists of names and aliases. */
const LIST_ENDS = 4;
/** What must still fit behind the evidence, method and path of the facts: two of their kinds and the list ends. */
const AFTER_TEXTS = 8;
const NOTHING = 0xff;

/** `undefined`, `null`, the text of the event itself (stored once), or a text of its own. */
const TEXT = { unknown: 0, absent: 1, same: 2, own: 3 } as const;

/**
 * Writes an event where the writer stands, which has MAX_EVENT_BYTES left; returns its length. Allocates nothing.
 * The facts serve to decide an open flow anew, so what is cut off there must not help the flow: a method or path that
 * was cut reads as unknown, and a name that was left out is a binding less. The name in the flow is never left out.
 */
export function encodeEvent(event: FlowEvent, outcome: number, audit: number, writer: ByteWriter): number {
  const start = writer.length;
  const { tuple, facts } = event;
  writer.byte(KINDS.indexOf(event.kind));
  writer.byte(STATES.indexOf(event.state));
  writer.byte(APPLICATIONS.indexOf(event.application));
  writer.byte(tuple.protocol);
  writer.half(outcome);
  writer.half(audit);
  writer.float(event.flowId);
  writer.float(event.time);
  writer.float(event.workloadId);
  writeEnds(writer, tuple);
  const lengths = writer.length;
  writer.skip(AT.texts - AT.name);
  const name = writer.bare(event.name, MOST.name, FACTS_ROOM);
  writer.setHalf(lengths, name >= 0 ? name : ~name);
  const method = writer.bare(event.method, MOST.method, FACTS_ROOM);
  writer.setHalf(lengths + 2, method >= 0 ? method : ~method);
  const path = writer.bare(event.path, MOST.path, FACTS_ROOM);
  writer.setHalf(lengths + 4, path >= 0 ? path : ~path);
  const whole = (name >= 0 ? FLAG.name : 0) | (method >= 0 ? FLAG.method : 0) | (path >= 0 ? FLAG.path : 0);
  const waited = waitedSteps(event.waited) << WAITED_SHIFT;
  writer.setByte(lengths + 6, whole | waited | (facts === null ? 0 : FLAG.facts));
  if (facts !== null) writeFacts(writer, event, facts, whole);
  return writer.length - start;
}

function waitedSteps(waited: number | undefined): number {
  if (waited === undefined) return 0;
  const steps = Math.max(1, Math.ceil(waited / WAITED_STEP_MS));
  return steps <= MOST_STEPS ? steps : 0;
}

/** Milliseconds; undefined: not known. */
export function waitedOf(flags: number): number | undefined {
  const steps = flags >>> WAITED_SHIFT;
  return steps === 0 ? undefined : steps * WAITED_STEP_MS;
}

export function writeTuple(writer: ByteWriter, tuple: FlowTuple): void {
  writer.byte(tuple.protocol);
  writeEnds(writer, tuple);
}

export function readTuple(reader: ByteReader): FlowTuple {
  return readEnds(reader, reader.byte());
}

/** Client, server and their ports, as they lie in every record of a flow (TUPLE_BYTES). */
export function writeEnds(writer: ByteWriter, tuple: FlowTuple): void {
  writeAddress(writer, tuple.client);
  writeAddress(writer, tuple.server);
  writer.half(tuple.clientPort);
  writer.half(tuple.serverPort);
}

export function readEnds(reader: ByteReader, protocol: number): FlowTuple {
  const client = readAddress(reader);
  const server = readAddress(reader);
  return { protocol, client, server, clientPort: reader.half(), serverPort: reader.half() };
}

export function writeAddress(writer: ByteWriter, address: Address): void {
  writer.word(address.w0);
  writer.word(address.w1);
  writer.word(address.w2);
  writer.word(address.w3);
}

export function readAddress(reader: ByteReader): Address {
  return { w0: reader.word(), w1: reader.word(), w2: reader.word(), w3: reader.word() };
}

export function writeDecision(writer: ByteWriter, decision: Decision): void {
  writer.byte(ACTIONS.indexOf(decision.action));
  writer.byte(REASONS.indexOf(decision.reason));
  writer.text(decision.policy, MOST.policy, 0);
  writer.text(decision.rule, MOST.rule, 0);
}

/** Undefined: these bytes are none. */
export function readDecision(reader: ByteReader): Decision | undefined {
  const action = ACTIONS[reader.byte()];
  const reason = REASONS[reader.byte()];
  const policy = reader.text();
  const rule = reader.text();
  if (action === undefined || reason === undefined || reader.overrun) return undefined;
  return { action, policy, rule, reason };
}

function writeFacts(writer: ByteWriter, event: FlowEvent, facts: Facts, whole: number): void {
  writeAddress(writer, facts.address);
  writer.half(facts.port);
  writer.byte(facts.protocol);
  writer.byte(APPLICATIONS.indexOf(facts.application));
  writer.byte((facts.namesFinal ? 1 : 0) | (facts.nameHidden ? 2 : 0) | (facts.ended ? 4 : 0));
  writer.byte(facts.encryptedClientHello === undefined ? NOTHING : facts.encryptedClientHello ? 1 : 0);
  writeOptional(writer, facts.evidence, event.name, (whole & FLAG.name) !== 0, MOST.name);
  writeOptional(writer, facts.method, event.method, (whole & FLAG.method) !== 0, MOST.method);
  writeOptional(writer, facts.path, event.path, (whole & FLAG.path) !== 0, MOST.path);
  const { evidence } = facts;
  const first = typeof evidence === "string" && facts.names.includes(evidence) ? evidence : null;
  if (first !== null) writer.whole(first, MOST.name, LIST_ENDS);
  for (const name of facts.names) if (name !== first) writer.whole(name, MOST.name, LIST_ENDS);
  writer.text(null, 0, 0);
  for (const alias of facts.aliases) writer.whole(alias, MOST.name, LIST_ENDS);
  writer.text(null, 0, 0);
}

/** Reads the facts of an event whose texts these are. Null: these bytes are none. */
export function readFacts(
  reader: ByteReader,
  name: string | null,
  method: string | null,
  path: string | null,
): Facts | null {
  const address = readAddress(reader);
  const port = reader.half();
  const protocol = reader.byte();
  const application = APPLICATIONS[reader.byte()];
  const flags = reader.byte();
  const hello = reader.byte();
  const evidence = readOptional(reader, name);
  const factsMethod = readOptional(reader, method);
  const factsPath = readOptional(reader, path);
  const names = readList(reader);
  const aliases = readList(reader);
  if (application === undefined || reader.overrun) return null;
  return {
    address,
    port,
    protocol,
    names,
    aliases,
    namesFinal: (flags & 1) !== 0,
    application,
    evidence,
    nameHidden: (flags & 2) !== 0,
    encryptedClientHello: hello === NOTHING ? undefined : hello === 1,
    method: factsMethod,
    path: factsPath,
    ended: (flags & 4) !== 0,
  };
}

/** `whole`: the text of the event was stored uncut. A text that would be cut is stored as unknown. */
function writeOptional(
  writer: ByteWriter,
  text: string | null | undefined,
  ofEvent: string | null,
  whole: boolean,
  most: number,
): void {
  const before = writer.length;
  const own = typeof text === "string" && text !== ofEvent;
  writer.byte(
    own ? TEXT.own : text === undefined ? TEXT.unknown : text === null ? TEXT.absent : whole ? TEXT.same : TEXT.unknown,
  );
  if (!own || writer.whole(text, most, AFTER_TEXTS)) return;
  writer.back(before);
  writer.byte(TEXT.unknown);
}

function readOptional(reader: ByteReader, ofEvent: string | null): string | null | undefined {
  const how = reader.byte();
  if (how === TEXT.own) return reader.text();
  return how === TEXT.same ? ofEvent : how === TEXT.absent ? null : undefined;
}

function readList(reader: ByteReader): string[] {
  const list: string[] = [];
  for (let text = reader.text(); text !== null; text = reader.text()) list.push(text);
  return list;
}
