import { GateMemo } from "../../decide/gate-memo.ts";
import type { FlowTuple } from "../../flow/event.ts";
import type { AgentConfig, Limits } from "../../model/config.ts";
import type { Decision } from "../../model/decision.ts";
import type { NameTable } from "../../names/table.ts";
import { DNS_CLASS_IN, type DnsMessage, parseDnsMessage } from "../../packet/dns.ts";
import { newNameCursor } from "../../packet/dns-name.ts";
import { hidesNames, stripEncryptedClientHello } from "../../packet/dns-strip.ts";
import { PROTOCOL } from "../../packet/ip.ts";
import { NameTexts } from "../../packet/name-texts.ts";
import type { Program } from "../../program/program.ts";
import { isBindable } from "./bindable.ts";
import { followChain } from "./chain.ts";
import { PendingQuestions } from "./pending.ts";
import { denialAnswer, formatErrorAnswer } from "./refusal.ts";
import { SearchLists } from "./search-list.ts";

export interface DnsGuardOptions {
  readonly names: NameTable;
  readonly dnsDenial: AgentConfig["dnsDenial"];
  readonly clusterDomain: string;
  readonly limits: Pick<Limits, "pendingQuestions">;
  /** Search domains of pods beyond the cluster domain, canonical. */
  readonly searchSuffixes?: readonly string[];
}

/** Who speaks, and on which flow. */
export interface DnsContext {
  readonly workloadId: number;
  readonly cls: number;
  readonly program: Program;
  readonly flowKey: FlowTuple;
}

export type QuestionProblem =
  | "NoMessage" // bytes that are no DNS message
  | "Answer" // a client that answers
  | "Opcode"
  | "QuestionCount"
  | "Class"
  | "Records" // a question that carries records: nothing asks for them
  | "NameText"; // a name that plain text cannot hold

export type QuestionVerdict =
  | {
      readonly kind: "pass";
      /** Canonical; null only where nothing is gated and the message could not be read. */
      readonly name: string | null;
      readonly decision: Decision;
      readonly audit: Decision | null;
      /** The client sent it again while it waits: no new record. */
      readonly repeated: boolean;
    }
  | {
      readonly kind: "deny";
      readonly name: string;
      readonly decision: Decision;
      readonly audit: Decision | null;
      /** A whole DNS message without the length field of TCP. */
      readonly answer: Uint8Array;
      /** Made by a search list: neither counted nor recorded. */
      readonly silent: boolean;
    }
  | { readonly kind: "malformed"; readonly problem: QuestionProblem; readonly answer: Uint8Array | null };

/** Bytes to write over the message, `offset` counted from its first byte. */
export interface DnsPatch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export type AnswerVerdict =
  | {
      readonly kind: "pass";
      /** The whole message with the patches applied, of the same length; null: it passes as it is. */
      readonly patched: Uint8Array | null;
      readonly patches: readonly DnsPatch[];
    }
  | { readonly kind: "drop"; readonly why: "Unasked" | "Malformed" };

const AS_IT_IS: AnswerVerdict = { kind: "pass", patched: null, patches: [] };
const UNREAD: Decision = { action: "Allow", policy: null, rule: null, reason: "NotIsolated" };
const OPCODE_QUERY = 0;

/**
 * Judges the DNS messages between workloads and trusted resolvers, whatever carries them. A name passes if a rule could allow it;
 * an answer passes, and is learned, only if it answers a question of the same flow. Isolated workloads are gated and
 * lose ECH keys; for others everything passes as it is, and only what can be read is learned.
 */
export class DnsGuard {
  readonly #names: NameTable;
  readonly #denial: AgentConfig["dnsDenial"];
  readonly #pending: PendingQuestions;
  readonly #search: SearchLists;
  readonly #gate = new GateMemo();
  /** Lent to the parser for one message after the other. */
  readonly #cursor = newNameCursor(new NameTexts());

  constructor(options: DnsGuardOptions) {
    this.#names = options.names;
    this.#denial = options.dnsDenial;
    this.#pending = new PendingQuestions(options.limits.pendingQuestions);
    this.#search = new SearchLists(options.clusterDomain, options.searchSuffixes ?? []);
  }

  /** Judges the message `bytes[start, end)` of a client. The bytes are borrowed. Never throws on what they hold. */
  question(context: DnsContext, bytes: Uint8Array, start: number, end: number, now: number): QuestionVerdict {
    const message = parseDnsMessage(bytes, start, end, this.#cursor);
    const isolated = isGated(context);
    const problem = problemOf(message);
    if (problem !== null || message.kind !== "message") {
      if (!isolated) return { kind: "pass", name: null, decision: UNREAD, audit: null, repeated: false };
      return this.#malformed(context, bytes.slice(start, end), problem ?? "NoMessage");
    }
    const name = message.question!.name!;
    const decision = this.#gate.gate(context.program, context.cls, name);
    const audit = this.#audit(context, name, decision);
    const made = isolated && decision.action === "Deny" && this.#search.isMade(context.workloadId, name, now);
    if (isolated) this.#search.asked(context.workloadId, name, now);
    if (decision.action === "Deny") {
      const answer = denialAnswer(bytes.slice(start, end), decision, this.#denial, overTcp(context));
      if (answer === null) return this.#malformed(context, bytes.slice(start, end), "NoMessage");
      return { kind: "deny", name, decision, audit, answer, silent: made };
    }
    const { id, question } = message;
    const repeated = this.#pending.ask(context.workloadId, context.flowKey, id, name, question!.type, now);
    return { kind: "pass", name, decision, audit, repeated };
  }

  /** Judges the message `bytes[start, end)` of a trusted resolver. That it comes from one is for the caller to know. */
  answer(context: DnsContext, bytes: Uint8Array, start: number, end: number, now: number): AnswerVerdict {
    const { workloadId, flowKey } = context;
    const isolated = isGated(context);
    const message = parseDnsMessage(bytes, start, end, this.#cursor);
    if (message.kind !== "message") return isolated ? { kind: "drop", why: "Malformed" } : AS_IT_IS;
    const name = answeredName(message);
    const asked =
      name === undefined
        ? null
        : this.#pending.answered(workloadId, flowKey, message.id, name, message.question?.type ?? 0, now);
    if (asked === null) return isolated ? { kind: "drop", why: "Unasked" } : AS_IT_IS;
    // A truncated answer is asked again over TCP; half a chain would bind too little, or the wrong end of it.
    if (!message.truncated && message.rcode === 0) this.#learn(context, message, asked, now);
    return isolated && hidesNames(message) ? withoutKeys(message, bytes.slice(start, end)) : AS_IT_IS;
  }

  /** The workload is gone. */
  forgetWorkload(workloadId: number): void {
    this.#pending.forgetWorkload(workloadId);
    this.#search.forgetWorkload(workloadId);
  }

  #learn({ workloadId, program }: DnsContext, message: DnsMessage, question: string, now: number): void {
    const { addresses, aliases, ttl } = followChain(message, question);
    const bindable = addresses.filter((address) => isBindable(program, question, address));
    if (bindable.length > 0) this.#names.learn(workloadId, question, aliases, bindable, ttl, now);
  }

  #audit({ program, cls }: DnsContext, name: string, decision: Decision): Decision | null {
    if (!program.audited(cls)) return null;
    const audit = this.#gate.gate(program, cls, name, "all");
    const same = audit.action === decision.action && audit.policy === decision.policy && audit.rule === decision.rule;
    return same ? null : audit;
  }

  #malformed(context: DnsContext, query: Uint8Array, problem: QuestionProblem): QuestionVerdict {
    // Such a name is asked by honest programs too (a label with a space): they shall see that it does not exist.
    const decision: Decision = { action: "Deny", policy: null, rule: null, reason: "Malformed" };
    const named = problem === "NameText" ? denialAnswer(query, decision, this.#denial, overTcp(context)) : null;
    return { kind: "malformed", problem, answer: named ?? formatErrorAnswer(query) };
  }
}

/** A class that the program does not know is gated like an isolated one: the gate then denies every name. */
export function isGated({ program, cls }: Pick<DnsContext, "program" | "cls">): boolean {
  return cls < 0 || program.gated(cls);
}

function overTcp({ flowKey }: DnsContext): boolean {
  return flowKey.protocol === PROTOCOL.tcp;
}

/** Null: exactly one plain question. Anything more could carry what the gate does not see. */
function problemOf(message: ReturnType<typeof parseDnsMessage>): QuestionProblem | null {
  if (message.kind !== "message") return "NoMessage";
  if (message.response) return "Answer";
  if (message.opcode !== OPCODE_QUERY) return "Opcode";
  if (message.questionCount !== 1 || message.question === null) return "QuestionCount";
  if (message.question.class !== DNS_CLASS_IN) return "Class";
  if (message.answers.length + message.authority.length + message.additional.length > 0) return "Records";
  return message.question.name === null ? "NameText" : null;
}

/** The name that an answer repeats; null: an error without a question and without records; undefined: not an answer to one question. */
function answeredName(message: DnsMessage): string | null | undefined {
  if (!message.response || message.opcode !== OPCODE_QUERY) return undefined;
  const records = message.answers.length + message.authority.length + message.additional.length;
  if (message.questionCount === 0) return message.rcode !== 0 && records === 0 ? null : undefined;
  const { question } = message;
  if (message.questionCount !== 1 || question === null || question.class !== DNS_CLASS_IN) return undefined;
  return question.name ?? undefined;
}

/** Of a message that holds ECH keys: without them the name in a TLS hello stays readable. */
function withoutKeys(message: DnsMessage, copy: Uint8Array): AnswerVerdict {
  const ranges = stripEncryptedClientHello(copy, message, 0);
  const patches = ranges.map(({ start, end }) => ({ offset: start, bytes: copy.slice(start, end) }));
  return { kind: "pass", patched: copy, patches };
}
