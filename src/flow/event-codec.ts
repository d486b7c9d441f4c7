import { type Action, type Decision, REASONS } from "../model/decision.ts";
import type { Application, Facts } from "../model/facts.ts";
import type { Address } from "../net/address.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";

/** An encoded event is never longer. What does not fit is cut: texts at a character, lists at a whole name. */
export const MAX_EVENT_BYTES = 2048;

const KINDS: readonly FlowEvent["kind"][] = ["flow", "request", "dns"];
const STATES: readonly FlowEvent["state"][] = ["allowed", "http", "rejected", "none"];
const ACTIONS: readonly Action[] = ["Allow", "Deny"];
const APPLICATIONS: readonly Application[] = ["Unknown", "TLS", "QUIC", "HTTP", "DNS", "Other", "ServerFirst"];

/** Most bytes of one text. A policy name is `Kind/namespace/name`, each part at most 253 bytes. */
const MOST = { name: 255, method: 32, path: 1024, policy: 544, rule: 128 };
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
 * Writes an event to the start of the writer, which has MAX_EVENT_BYTES; returns its length. Allocates nothing.
 * The facts serve to decide an open flow anew, so what is cut off there must not help the flow: a method or path that
 * was cut reads as unknown, and a name that was left out is a binding less. The name in the flow is never left out.
 */
export function encodeEvent(event: FlowEvent, writer: ByteWriter): number {
  writer.back(0);
  writer.byte(KINDS.indexOf(event.kind));
  writer.byte(STATES.indexOf(event.state));
  writer.byte(APPLICATIONS.indexOf(event.application));
  writer.float(event.flowId);
  writer.float(event.time);
  writer.float(event.workloadId);
  writeTuple(writer, event.tuple);
  writeDecision(writer, event.decision);
  writer.byte(event.audit === null ? 0 : 1);
  if (event.audit !== null) writeDecision(writer, event.audit);
  const whole =
    (writer.text(event.name, MOST.name, FACTS_ROOM) ? 1 : 0) |
    (writer.text(event.method, MOST.method, FACTS_ROOM) ? 2 : 0) |
    (writer.text(event.path, MOST.path, FACTS_ROOM) ? 4 : 0);
  writer.byte(event.facts === null ? 0 : 1);
  if (event.facts !== null) writeFacts(writer, event, event.facts, whole);
  return writer.length;
}

/** Reads what `encodeEvent` wrote. Null: these bytes are no event. */
export function decodeEvent(reader: ByteReader): FlowEvent | null {
  const kind = KINDS[reader.byte()];
  const state = STATES[reader.byte()];
  const application = APPLICATIONS[reader.byte()];
  const flowId = reader.float();
  const time = reader.float();
  const workloadId = reader.float();
  const tuple = readTuple(reader);
  const decision = readDecision(reader);
  const audit = reader.byte() === 1 ? readDecision(reader) : null;
  const name = reader.text();
  const method = reader.text();
  const path = reader.text();
  const facts = reader.byte() === 1 ? readFacts(reader, name, method, path) : null;
  if (kind === undefined || state === undefined || application === undefined || decision === undefined) return null;
  if (audit === undefined || facts === undefined || reader.overrun) return null;
  return { kind, flowId, time, workloadId, tuple, application, name, method, path, decision, audit, facts, state };
}

export function writeTuple(writer: ByteWriter, tuple: FlowTuple): void {
  writer.byte(tuple.protocol);
  writeAddress(writer, tuple.client);
  writeAddress(writer, tuple.server);
  writer.half(tuple.clientPort);
  writer.half(tuple.serverPort);
}

export function readTuple(reader: ByteReader): FlowTuple {
  const protocol = reader.byte();
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

function writeDecision(writer: ByteWriter, decision: Decision): void {
  writer.byte(ACTIONS.indexOf(decision.action));
  writer.byte(REASONS.indexOf(decision.reason));
  writer.text(decision.policy, MOST.policy, FACTS_ROOM);
  writer.text(decision.rule, MOST.rule, FACTS_ROOM);
}

function readDecision(reader: ByteReader): Decision | undefined {
  const action = ACTIONS[reader.byte()];
  const reason = REASONS[reader.byte()];
  const policy = reader.text();
  const rule = reader.text();
  return action === undefined || reason === undefined ? undefined : { action, policy, rule, reason };
}

function writeFacts(writer: ByteWriter, event: FlowEvent, facts: Facts, whole: number): void {
  writeAddress(writer, facts.address);
  writer.half(facts.port);
  writer.byte(facts.protocol);
  writer.byte(APPLICATIONS.indexOf(facts.application));
  writer.byte((facts.namesFinal ? 1 : 0) | (facts.nameHidden ? 2 : 0) | (facts.ended ? 4 : 0));
  writer.byte(facts.encryptedClientHello === undefined ? NOTHING : facts.encryptedClientHello ? 1 : 0);
  writeOptional(writer, facts.evidence, event.name, (whole & 1) !== 0, MOST.name);
  writeOptional(writer, facts.method, event.method, (whole & 2) !== 0, MOST.method);
  writeOptional(writer, facts.path, event.path, (whole & 4) !== 0, MOST.path);
  const { evidence } = facts;
  const first = typeof evidence === "string" && facts.names.includes(evidence) ? evidence : null;
  if (first !== null) writer.whole(first, MOST.name, LIST_ENDS);
  for (const name of facts.names) if (name !== first) writer.whole(name, MOST.name, LIST_ENDS);
  writer.text(null, 0, 0);
  for (const alias of facts.aliases) writer.whole(alias, MOST.name, LIST_ENDS);
  writer.text(null, 0, 0);
}

function readFacts(
  reader: ByteReader,
  name: string | null,
  method: string | null,
  path: string | null,
): Facts | undefined {
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
  if (application === undefined) return undefined;
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
