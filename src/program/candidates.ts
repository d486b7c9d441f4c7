import { namesPort } from "./entry-ports.ts";
import {
  CLASS,
  ENTRY,
  FIRST_OWN_TIER,
  NONE,
  POLICY,
  POLICY_FLAG,
  PORT,
  type ProgramData,
  RULE,
  type Walk,
} from "./layout.ts";

/**
 * In a list of candidates: the rules behind it are of another policy, or of another policy and tier, or of the first of Sallyport's own
 * policies after standard ones. Else a rule number.
 */
export const NEXT_POLICY = 0xffffffff;
export const NEXT_TIER = 0xfffffffe;
export const OWN_TIERS = 0xfffffffd;

/** Protocols that no rule names are all alike. */
const UNNAMED = 256;
const PORTS = 0x10000;
const DNS_PORT = 53;
/** Bound on words kept: a pod chooses the ports that it tries. */
const MOST_WORDS = 1 << 20;

/**
 * The rules of a class that can answer anything but "no" to a protocol and port, in the order of the walk. Most rules name
 * ports, so a walk meets a few of them instead of all. Ports between two that some rule names are alike: a list is made when
 * a flow first needs it, and there are no more lists than rules can tell apart.
 */
export class Candidates {
  readonly #data: ProgramData;
  /** First ports of the stretches in which all ports are alike, ascending. */
  readonly #stretches: readonly number[];
  readonly #named: ReadonlySet<number>;
  /** By class and walk. */
  #lists: (Map<number, Uint32Array> | undefined)[] = [];
  #words = 0;

  constructor(data: ProgramData) {
    this.#data = data;
    const { ports } = data.rules;
    const starts = new Set([0, DNS_PORT, DNS_PORT + 1]);
    const named = new Set<number>();
    for (let row = 0; row < ports.length; row += PORT.stride) {
      named.add(ports[row + PORT.protocol]!);
      starts.add(ports[row + PORT.from]!);
      starts.add(ports[row + PORT.to]! + 1);
    }
    this.#stretches = [...starts].sort((a, b) => a - b);
    this.#named = named;
  }

  /** Rule numbers, with NEXT_POLICY, NEXT_TIER or OWN_TIERS before those of each policy. */
  of(cls: number, walk: Walk, protocol: number, port: number): Uint32Array {
    const row = cls * 2 + (walk === "enforce" ? 0 : 1);
    let lists = this.#lists[row];
    if (lists === undefined) {
      lists = new Map();
      this.#lists[row] = lists;
    }
    const known = this.#named.has(protocol) ? protocol : UNNAMED;
    const key = known * PORTS + this.#stretchOf(port);
    const list = lists.get(key);
    return list !== undefined ? list : this.#make(lists, key, cls, walk, known, port);
  }

  #stretchOf(port: number): number {
    const starts = this.#stretches;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle]! <= port) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #make(
    lists: Map<number, Uint32Array>,
    key: number,
    cls: number,
    walk: Walk,
    protocol: number,
    port: number,
  ): Uint32Array {
    const { classes, classLists, rules } = this.#data;
    const start = classes[cls * CLASS.stride + CLASS.policies]!;
    const end = start + classes[cls * CLASS.stride + CLASS.policyCount]!;
    const list: number[] = [];
    let tier: number = NONE;
    for (let i = start; i < end; i++) {
      const policy = classLists[i]! * POLICY.stride;
      if (walk === "enforce" && (rules.policies[policy + POLICY.flags]! & POLICY_FLAG.audit) !== 0) continue;
      const first = rules.policies[policy + POLICY.rules]!;
      const rulesOf: number[] = [];
      for (let rule = first; rule < first + rules.policies[policy + POLICY.ruleCount]!; rule++) {
        if (this.#canApply(rule, protocol, port)) rulesOf.push(rule);
      }
      if (rulesOf.length === 0) continue;
      const next = rules.policies[policy + POLICY.tier]!;
      const own = next >= FIRST_OWN_TIER && tier < FIRST_OWN_TIER;
      list.push(next === tier ? NEXT_POLICY : own ? OWN_TIERS : NEXT_TIER, ...rulesOf);
      tier = next;
    }
    if (this.#words + list.length > MOST_WORDS) {
      this.#lists = [];
      this.#words = 0;
    }
    this.#words += list.length + 1;
    const made = Uint32Array.from(list);
    lists.set(key, made);
    return made;
  }

  #canApply(rule: number, protocol: number, port: number): boolean {
    const data = this.#data.rules;
    const count = data.rules[rule * RULE.stride + RULE.entryCount]!;
    if (count === NONE) return true;
    const first = data.rules[rule * RULE.stride + RULE.entries]!;
    for (let entry = first; entry < first + count; entry++) {
      if (data.entries[entry * ENTRY.stride + ENTRY.portCount] === NONE) return true;
      if (namesPort(data, entry, protocol, port)) return true;
    }
    return false;
  }
}
