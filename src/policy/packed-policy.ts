import type { Policy, Rule, Subject } from "../model/policy.ts";
import type { PackedRules, RulePacking } from "./packed-rules.ts";

/**
 * A policy whose rules are text until somebody asks for them: of the policies of a cluster few concern a node, and as
 * objects their rules take four times as much. Each reading of `rules` makes them anew: ask once.
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
  readonly #rules: PackedRules;
  readonly #index: number;

  constructor(policy: Policy, subjects: Subjects, packing: RulePacking) {
    this.kind = policy.kind;
    this.name = copyOf(policy.name);
    this.namespace = policy.namespace === null ? null : copyOf(policy.namespace);
    this.tier = policy.tier;
    this.priority = policy.priority;
    this.mode = policy.mode;
    this.defaultDeny = policy.defaultDeny;
    this.subject = subjects.share(policy.subject);
    const { rules, index } = packing.add(policy.rules);
    this.#rules = rules;
    this.#index = index;
  }

  get rules(): readonly Rule[] {
    return this.#rules.of(this.#index);
  }

  /** Lets the rules take as little memory as they can. */
  putAway(): void {
    this.#rules.putAway();
  }
}

/** The same subject is the same object: the policies of one namespace name the same few sets of pods. */
export class Subjects {
  readonly #known = new Map<string, Subject>();

  share(subject: Subject): Subject {
    const text = JSON.stringify(subject);
    let shared = this.#known.get(text);
    if (shared === undefined) {
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
