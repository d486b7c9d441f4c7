import type { Facts } from "../model/facts.ts";
import { TCP, UDP } from "../net/ports.ts";
import { namesPort } from "../program/entry-ports.ts";
import { ACTION, ACTIONS, ENTRY, GROUP, NONE, RULE, TLS } from "../program/layout.ts";
import { NAME_MARK } from "../program/marks.ts";
import type { HttpTests, Program } from "../program/program.ts";
import { ANSWER, type RuleAnswers } from "./walk.ts";

const { no, notYet, hidden, yes } = ANSWER;

const DNS_PORT = 53;

/** What an entry is asked for: the action of its rule, and whether a hidden name lets a Deny pass. */
export interface Asking {
  readonly action: number;
  readonly hiddenContinues: boolean;
}

/** By action and `hiddenContinues`: a rule is asked on every packet, so what it is asked for is made once. */
const ASKINGS: readonly Asking[] = ACTIONS.flatMap((_, action) => [
  { action, hiddenContinues: false },
  { action, hiddenContinues: true },
]);

/** `row` is that of the rule. */
export function askingOf(rules: Uint32Array, row: number): Asking {
  return ASKINGS[rules[row + RULE.action]! * 2 + rules[row + RULE.hiddenContinues]!]!;
}

/**
 * The answers of rules and entries on one flow's facts. Uncertainty never helps the flow: Allow, Pass and Next
 * ("opening" rules) need binding and evidence, and an open question at the end of the facts is a no; a Deny
 * takes either, and an open question is a yes where the flow could have told its name and did not.
 */
export class FlowAnswers implements RuleAnswers {
  readonly facts: Facts;
  private readonly program: Program;
  private readonly cls: number;
  /** Port 53 of a server that is no trusted resolver: only an Allow that names ports opens it. */
  readonly foreignResolver: boolean;
  /** No more bindings can come. */
  readonly namesFinal: boolean;
  /** The flow may still show a name. */
  readonly nameMayCome: boolean;
  /** `undefined` only where the flow could carry a name and has not shown whether it does. */
  readonly evidence: string | null | undefined;
  readonly nameHidden: boolean;
  /** The name in the flow is one that this workload resolved to the address. */
  readonly evidenceBound: boolean;

  /** The caller has settled trusted resolvers: port 53 here is somebody else's. */
  constructor(program: Program, cls: number, facts: Facts) {
    const { application, ended, evidence, protocol } = facts;
    const carriesNames = protocol === TCP || protocol === UDP;
    this.program = program;
    this.cls = cls;
    this.facts = facts;
    this.foreignResolver = carriesNames && facts.port === DNS_PORT;
    this.namesFinal = facts.namesFinal || ended;
    this.evidence = evidence === undefined && !carriesNames ? null : evidence;
    this.nameMayCome = this.evidence === undefined && !ended && !facts.nameHidden;
    const hides = application === "TLS" || application === "QUIC" || application === "HTTP";
    this.nameHidden = facts.nameHidden || (ended && evidence === undefined && hides);
    this.evidenceBound = typeof evidence === "string" && facts.names.includes(evidence);
    program.marks.begin(cls, facts);
  }

  answer(rule: number): number {
    const { rules } = this.program.rules;
    const row = rule * RULE.stride;
    const action = rules[row + RULE.action]!;
    const count = rules[row + RULE.entryCount]!;
    if (count === NONE) return action === ACTION.allow && this.foreignResolver ? no : yes;
    const asking = askingOf(rules, row);
    const first = rules[row + RULE.entries]!;
    let best: number = no;
    for (let entry = first; entry < first + count && best < yes; entry++) {
      const answer = this.entry(entry, asking);
      if (answer > best) best = answer;
    }
    return best;
  }

  /** All fields of one entry; the cheap ones first. */
  entry(entry: number, asking: Asking): number {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    if (this.ports(entry, asking) === no || this.cidrs(entry) === no) return no;
    let least = this.group(entry, asking);
    if (least !== no && entries[row + ENTRY.names] !== NONE) least = Math.min(least, this.domains(entry, asking));
    if (least !== no && entries[row + ENTRY.tls] !== TLS.none) least = Math.min(least, this.tls(entry, asking));
    if (least !== no && entries[row + ENTRY.http] !== NONE) least = Math.min(least, this.http(entry, asking));
    return least;
  }

  ports(entry: number, { action }: Asking): number {
    const { rules } = this.program;
    const count = rules.entries[entry * ENTRY.stride + ENTRY.portCount]!;
    if (count === NONE) return action === ACTION.allow && this.foreignResolver ? no : yes;
    return namesPort(rules, entry, this.facts.protocol, this.facts.port) ? yes : no;
  }

  cidrs(entry: number): number {
    const set = this.program.rules.entries[entry * ENTRY.stride + ENTRY.cidrs]!;
    return set === NONE || this.program.marks.holdsAddress(set) ? yes : no;
  }

  /** A group that is not there is nobody for rules that open, and everybody for a Deny. */
  group(entry: number, asking: Asking): number {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    const state = entries[row + ENTRY.groupState]!;
    if (state === GROUP.none) return yes;
    if (state === GROUP.missing) return asking.action === ACTION.deny ? yes : no;
    const cidrs = entries[row + ENTRY.groupCidrs]!;
    if (cidrs !== NONE && this.program.marks.holdsAddress(cidrs)) return yes;
    const names = entries[row + ENTRY.groupNames]!;
    return names === NONE ? no : this.nameSet(names, entry, asking);
  }

  domains(entry: number, asking: Asking): number {
    const set = this.program.rules.entries[entry * ENTRY.stride + ENTRY.names]!;
    return set === NONE ? yes : this.nameSet(set, entry, asking);
  }

  private nameSet(set: number, entry: number, { action, hiddenContinues }: Asking): number {
    const marks = this.program.marks.nameMarks(set);
    return action === ACTION.deny ? this.denied(marks, hiddenContinues) : this.opened(marks, this.needsEvidence(entry));
  }

  /** Evidence is required on ports 80 and 443, and wherever the entry looks into the payload. */
  needsEvidence(entry: number): boolean {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    const { port } = this.facts;
    return port === 80 || port === 443 || entries[row + ENTRY.http] !== NONE || entries[row + ENTRY.tls] !== TLS.none;
  }

  /** Opening rules: some name of the set is bound, and it is the one in the flow if the flow carries one or must. */
  private opened(marks: number, evidenceRequired: boolean): number {
    const bound = (marks & NAME_MARK.bound) !== 0;
    if (typeof this.evidence === "string") {
      if ((marks & NAME_MARK.evidence) === 0) return no;
      if (this.evidenceBound) return yes;
      return this.namesFinal ? no : notYet;
    }
    if (evidenceRequired && !this.nameMayCome) return no;
    if (!bound && this.namesFinal) return no;
    if (this.nameMayCome) return notYet;
    if (this.evidence === undefined && !this.facts.nameHidden) return no;
    return bound ? yes : notYet;
  }

  /** A Deny: any name of the flow is in the set, by binding or by evidence. */
  private denied(marks: number, hiddenContinues: boolean): number {
    if (marks !== 0) return yes;
    if (this.nameHidden && !hiddenContinues) return hidden;
    return this.nameMayCome || !this.namesFinal ? notYet : no;
  }

  http(entry: number, asking: Asking): number {
    const index = this.program.rules.entries[entry * ENTRY.stride + ENTRY.http]!;
    if (index === NONE) return yes;
    const { application, protocol, method, path } = this.facts;
    if (protocol !== TCP) return no;
    if (application === "Unknown") return this.open(asking, this.nameHidden);
    if (application !== "HTTP") return no;
    const tests = this.program.http[index]!;
    const { methods, paths } = tests;
    const byMethod = methods === null ? yes : this.known(method, asking, (value) => methods.has(value));
    if (byMethod === no || paths === null) return byMethod;
    return Math.min(
      byMethod,
      this.known(path, asking, (value) => this.matchesPath(tests, value, asking)),
    );
  }

  matchesPath(tests: HttpTests, path: string, { action }: Asking): boolean {
    const { paths, regexes } = tests;
    if (this.tooLong(tests, path)) return action === ACTION.deny;
    return paths === null || paths.some((test) => test(path)) || regexes.some((test) => test(path));
  }

  /**
   * None but regular expressions could still match, and the path is too long to be held against all that the class has: nothing that opens
   * matches, and every Deny does.
   */
  tooLong({ paths, regexes }: HttpTests, path: string): boolean {
    if (regexes.length === 0 || path.length <= this.program.regexReach(this.cls)) return false;
    return paths !== null && !paths.some((test) => test(path));
  }

  private known(value: string | null | undefined, asking: Asking, test: (value: string) => boolean): number {
    if (value === undefined) return this.open(asking, true);
    return value !== null && test(value) ? yes : no;
  }

  /** A question that is still open: not yet, until the facts end or the flow is known to hide the answer. */
  private open({ action, hiddenContinues }: Asking, hides: boolean): number {
    if (!this.facts.ended && !this.facts.nameHidden) return notYet;
    return action === ACTION.deny && hides && !hiddenContinues ? hidden : no;
  }

  /** QUIC always speaks TLS. */
  tls(entry: number, asking: Asking): number {
    const wanted = this.program.rules.entries[entry * ENTRY.stride + ENTRY.tls]!;
    const { application, encryptedClientHello, ended, protocol } = this.facts;
    const speaks = application === "TLS" || application === "QUIC";
    const undecided = application === "Unknown" && (protocol === TCP || protocol === UDP);
    if ((wanted & TLS.required) !== 0 && !speaks) return undecided && !ended ? notYet : no;
    if ((wanted & TLS.refuseEncryptedHello) === 0) return yes;
    if (encryptedClientHello !== undefined) return encryptedClientHello ? no : yes;
    if (!speaks && !undecided) return yes;
    return ended ? this.open(asking, speaks) : notYet;
  }
}
