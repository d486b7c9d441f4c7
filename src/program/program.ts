import { RE2JS } from "re2js";
import type { Decision } from "../model/decision.ts";
import type { PathMatch } from "../model/policy.ts";
import { regexWeight } from "../model/regex-weight.ts";
import type { Address } from "../net/address.ts";
import { Candidates } from "./candidates.ts";
import { holdsAddress } from "./cidr-table.ts";
import {
  ACTION,
  CLASS,
  CLASS_FLAG,
  ENTRY,
  FIRST_OWN_TIER,
  NONE,
  POLICY,
  type ProgramData,
  RULE,
  type RuleData,
  type TextData,
  type Walk,
} from "./layout.ts";
import { Marks } from "./marks.ts";
import { endpointWord, findWords } from "./word-table.ts";

export type PathTest = (path: string) => boolean;

/** What an entry asks of an HTTP request, ready to be asked. */
export interface HttpTests {
  readonly methods: ReadonlySet<string> | null;
  /** Null: every path. */
  readonly paths: readonly PathTest[] | null;
  /** Paths too, in any of which one may match; each character costs more, the more of them there are. */
  readonly regexes: readonly PathTest[];
}

/**
 * Characters of a path times weight of all regular expressions of a class: some 70 ns each in the worst case, and the lane asks nobody else
 * meanwhile. An agent that says nothing for 600 ms is taken for one that hangs.
 */
const MOST_REGEX_WORK = 1 << 20;
/** Weight of all regular expressions of a class; beyond it none is compiled, which takes up to 15 microseconds for each unit. */
const MOST_REGEX_WEIGHT = 16_384;

/**
 * Opens a compiled epoch for the calling thread. Cost: two arrays as long as the sets are many. Regular expressions are compiled when they are
 * first asked; one that RE2 refuses the document loader has refused before.
 */
export function openProgram(data: ProgramData): Program {
  return new Program(data);
}

/**
 * A view of one epoch, for one thread (it keeps marks of the flow being decided). Rows and classes are valid for this
 * Program only; workload ids outlive it. Look-ups allocate nothing.
 */
export class Program {
  readonly data: ProgramData;
  readonly rules: RuleData;
  readonly text: TextData;
  readonly marks: Marks;
  readonly candidates: Candidates;
  readonly http: readonly HttpTests[];
  private readonly decisions: (Decision | undefined)[] = [];
  private readonly reaches: (number | undefined)[] = [];

  constructor(data: ProgramData) {
    this.data = data;
    this.rules = data.rules;
    this.text = data.text;
    this.marks = new Marks(data);
    this.candidates = new Candidates(data);
    this.http = data.rules.http.map(({ methods, paths }) => ({
      methods: methods === null ? null : new Set(methods),
      paths: paths === null ? null : paths.filter(({ kind }) => kind !== "regex").map(pathTest),
      regexes: (paths ?? []).filter(({ kind }) => kind === "regex").map(pathTest),
    }));
  }

  get epoch(): number {
    return this.data.epoch;
  }

  get workloadCount(): number {
    return this.data.workloadIds.length;
  }

  get classCount(): number {
    return this.data.classes.length / CLASS.stride;
  }

  get clusterDomain(): string {
    return this.data.clusterDomain;
  }

  /** The row of the workload that owns an address (words of either sign), or -1. */
  workloadAt(w0: number, w1: number, w2: number, w3: number): number {
    return findWords(this.data.addresses, w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0, 0);
  }

  workloadId(row: number): number {
    return this.data.workloadIds[row]!;
  }

  classOfRow(row: number): number {
    return this.data.workloadClasses[row]!;
  }

  /** The class of a workload, or -1 when this epoch does not know it. */
  classOf(workloadId: number): number {
    const row = findWords(this.data.rowsById, 0, 0, 0, workloadId, 0);
    return row < 0 ? -1 : this.data.workloadClasses[row]!;
  }

  /** The class of a workload on its node's network, whose flows bear addresses of the node; -1: it is none that this epoch knows. */
  hostClassOf(workloadId: number): number {
    return this.data.hostIds.includes(workloadId) ? this.classOf(workloadId) : -1;
  }

  /** Some policy of the walk with `defaultDeny: true` selects the class: what no rule decides is denied. */
  isolated(cls: number, walk: Walk = "enforce"): boolean {
    return this.hasFlag(cls, walk === "enforce" ? CLASS_FLAG.isolated : CLASS_FLAG.isolatedByAll);
  }

  /** What no policy lets out may be denied: the class is isolated, or under standard policies, which isolate in their own way. */
  strict(cls: number): boolean {
    return this.hasFlag(cls, CLASS_FLAG.isolated | CLASS_FLAG.standard);
  }

  /** The standard policies of the class let it ask no trusted resolver: no name passes that they do not name. */
  mute(cls: number): boolean {
    return this.hasFlag(cls, CLASS_FLAG.mute);
  }

  /** DNS questions of the class are judged by their names. */
  gated(cls: number, walk: Walk = "enforce"): boolean {
    return this.isolated(cls, walk) || this.mute(cls);
  }

  /** Some enforcing policy selects the class. */
  selected(cls: number): boolean {
    return this.hasFlag(cls, CLASS_FLAG.selected);
  }

  /** Some Audit policy selects the class: the walk `all` may differ from `enforce`. */
  audited(cls: number): boolean {
    return this.hasFlag(cls, CLASS_FLAG.audited);
  }

  /** An enforcing policy would select the class, and somebody has set its enforcement aside for a while. */
  bypassed(cls: number): boolean {
    return this.hasFlag(cls, CLASS_FLAG.bypassed);
  }

  /** Inside the cluster: by range, or by listed endpoint. */
  isInside(address: Address, protocol: number, port: number): boolean {
    const { w0, w1, w2, w3 } = address;
    return (
      holdsAddress(this.data.inside, address) ||
      findWords(this.data.endpoints, w0, w1, w2, w3, endpointWord(protocol, port)) >= 0
    );
  }

  isResolver(address: Address): boolean {
    return findWords(this.data.resolvers, address.w0, address.w1, address.w2, address.w3, 0) >= 0;
  }

  /** An address of one of the cluster's nodes. */
  isNode(address: Address): boolean {
    return findWords(this.data.nodes, address.w0, address.w1, address.w2, address.w3, 0) >= 0;
  }

  /** The decision of an Allow, Accept or Deny rule, by rule number; one object a rule, made when first needed. */
  ruleDecision(rule: number, nameHidden: boolean): Decision {
    const key = rule * 2 + (nameHidden ? 1 : 0);
    const known = this.decisions[key];
    if (known !== undefined) return known;
    const row = rule * RULE.stride;
    const action = this.rules.rules[row + RULE.action];
    const decision: Decision = Object.freeze({
      action: action === ACTION.allow || action === ACTION.accept ? "Allow" : "Deny",
      policy: this.text.policyRefs[this.rules.rules[row + RULE.policy]!]!,
      rule: this.text.ruleNames[rule]!,
      reason: nameHidden ? "NameHidden" : "RuleMatched",
    });
    this.decisions[key] = decision;
    return decision;
  }

  /** The rule is one of a standard policy. */
  isStandard(rule: number): boolean {
    if (rule < 0) return false;
    const policy = this.rules.rules[rule * RULE.stride + RULE.policy]!;
    return this.rules.policies[policy * POLICY.stride + POLICY.tier]! < FIRST_OWN_TIER;
  }

  /** The longest path that the regular expressions of a class are held against; 0: none is. */
  regexReach(cls: number): number {
    const known = this.reaches[cls];
    if (known !== undefined) return known;
    let weight = 1;
    for (const index of this.httpOf(cls)) {
      for (const { kind, value } of this.rules.http[index]!.paths ?? []) {
        if (kind === "regex") weight += regexWeight(value);
      }
    }
    const reach = weight > MOST_REGEX_WEIGHT ? 0 : Math.floor(MOST_REGEX_WORK / weight);
    this.reaches[cls] = reach;
    return reach;
  }

  /** What the entries of the policies of a class ask of HTTP requests. */
  private *httpOf(cls: number): Generator<number> {
    const { classes, classLists } = this.data;
    const { policies, rules, entries } = this.rules;
    const start = classes[cls * CLASS.stride + CLASS.policies]!;
    for (let i = start; i < start + classes[cls * CLASS.stride + CLASS.policyCount]!; i++) {
      const policy = classLists[i]! * POLICY.stride;
      const first = policies[policy + POLICY.rules]!;
      for (let rule = first; rule < first + policies[policy + POLICY.ruleCount]!; rule++) {
        const count = rules[rule * RULE.stride + RULE.entryCount]!;
        const from = rules[rule * RULE.stride + RULE.entries]!;
        for (let entry = from; count !== NONE && entry < from + count; entry++) {
          const http = entries[entry * ENTRY.stride + ENTRY.http]!;
          if (http !== NONE) yield http;
        }
      }
    }
  }

  private hasFlag(cls: number, flag: number): boolean {
    return cls >= 0 && (this.data.classes[cls * CLASS.stride + CLASS.flags]! & flag) !== 0;
  }
}

/** Regular expressions match the whole path, in linear time: V8's own would let a request stall the lane. */
function pathTest({ kind, value }: PathMatch): PathTest {
  switch (kind) {
    case "exact":
      return (path) => path === value;
    case "prefix":
      return (path) => path.startsWith(value);
    case "suffix":
      return (path) => path.endsWith(value);
    case "regex": {
      // Of most epochs and classes nobody asks; compiling takes longer than asking once.
      let regex: RE2JS | null = null;
      return (path) => {
        regex ??= RE2JS.compile(value);
        return regex.testExact(path);
      };
    }
  }
}
