import type { Policy, Rule, Subject } from "../model/policy.ts";
import type { PackedPlace, TextPacking } from "./packed-texts.ts";
import type { RulesAtHand } from "./rules-at-hand.ts";

/** What the policies of one source share. */
export interface PolicyPacking {
  readonly subjects: Subjects;
  readonly rules: TextPacking;
  readonly atHand: RulesAtHand;
}

/**
 * A policy whose rules are text until somebody asks for them: of the policies of a cluster few concern a node, and as
 * objects their rules take four times as much. A reading of `rules` may make them anew: ask once.
 * The texts of a document are slices that keep the whole file in memory; nothing in here is one.
 */
export class PackedPolicy implements Policy {
  readonly kind: Policy["kind"];
  readonly name: string;
  readonly namespace: string | null;
  readonly tier: Policy["tier"];
  readonly priority: number;
  readonly mode: Policy["mode"];
  readonly defaultDeny: boolean;
  readonly subject: Subject;
  /** Of its rules. */
  place: PackedPlace;
  readonly #atHand: RulesAtHand;

  constructor(policy: Policy, { subjects, rules, atHand }: PolicyPacking) {
    this.kind = policy.kind;
    this.name = copyOf(policy.name);
    this.namespace = policy.namespace === null ? null : copyOf(policy.namespace);
    this.tier = policy.tier;
    this.priority = policy.priority;
    this.mode = policy.mode;
    this.defaultDeny = policy.defaultDeny;
    this.subject = subjects.share(policy.subject);
    this.place = rules.add(JSON.stringify(policy.rules));
    this.#atHand = atHand;
  }

  get rules(): readonly Rule[] {
    const known = this.#atHand.of(this);
    if (known !== undefined) return known;
    const { texts, index } = this.place;
    const text = texts.of(index);
    const rules = JSON.parse(text) as Rule[];
    this.#atHand.keep(this, rules, text.length);
    return rules;
  }

  /** Lets the rules take as little memory as they can. */
  putAway(): void {
    this.place.texts.putAway();
  }
}

/** So many different ones are known; beyond it one that comes again is another object. */
const MOST_SUBJECTS = 10_000;

/** The same subject is the same object: the policies of one namespace name the same few sets of pods. */
export class Subjects {
  readonly #known = new Map<string, Subject>();

  share(subject: Subject): Subject {
    const text = JSON.stringify(subject);
    let shared = this.#known.get(text);
    if (shared === undefined) {
      if (this.#known.size >= MOST_SUBJECTS) this.#known.clear();
      shared = copyOf(subject);
      this.#known.set(text, shared);
    }
    return shared;
  }
}

/** A value of plain data with texts of its own. */
export function copyOf<T extends string | object>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
