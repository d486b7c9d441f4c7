import type { Destination, DestinationGroup, HttpMatch, Policy, Rule, TlsMatch } from "../model/policy.ts";
import { policyRef } from "../model/policy.ts";
import { ACTIONS, GROUP, NONE, POLICY_FLAG, type RuleData, TIERS, TLS } from "./layout.ts";
import { Sets } from "./sets.ts";
import { shareWords, WordList } from "./words.ts";

/** The sets one policy speaks of. */
export interface PolicySets {
  readonly names: ReadonlySet<number>;
  readonly cidrs: ReadonlySet<number>;
}

interface GroupSets {
  readonly names: number;
  readonly cidrs: number;
}

/** Lays policies, rules and entries flat. Policies are added once each, in any order. */
export class RuleCompiler {
  readonly sets = new Sets();
  readonly policyRefs: string[] = [];
  readonly ruleNames: string[] = [];
  readonly groupNames: string[] = [];
  readonly setsOf: PolicySets[] = [];
  private readonly groups: ReadonlyMap<string, DestinationGroup>;
  private readonly groupSets = new Map<string, GroupSets>();
  private readonly policies = new WordList();
  private readonly rules = new WordList();
  private readonly entries = new WordList();
  private readonly ports = new WordList();
  private readonly http: HttpMatch[] = [];
  private entryCount = 0;
  private portCount = 0;

  constructor(groups: readonly DestinationGroup[]) {
    this.groups = new Map(groups.map((group) => [group.name, group]));
  }

  /** The policy's id. */
  add(policy: Policy): number {
    const id = this.policyRefs.push(policyRef(policy)) - 1;
    const used = { names: new Set<number>(), cidrs: new Set<number>() };
    const flags =
      (policy.mode === "Audit" ? POLICY_FLAG.audit : 0) | (policy.defaultDeny ? POLICY_FLAG.defaultDeny : 0);
    // Once: a packed policy makes its rules for each who asks.
    const { rules } = policy;
    this.policies.push(this.ruleNames.length, rules.length, TIERS.indexOf(policy.tier), flags);
    for (const rule of rules) this.addRule(rule, id, used);
    this.setsOf.push(used);
    return id;
  }

  finish(): RuleData {
    return {
      policies: this.policies.share(),
      rules: this.rules.share(),
      entries: this.entries.share(),
      ports: this.ports.share(),
      extents: shareWords(this.sets.extents()),
      http: this.http,
    };
  }

  private addRule(rule: Rule, policy: number, used: { names: Set<number>; cidrs: Set<number> }): void {
    const count = rule.to === null ? NONE : rule.to.length;
    const continues = rule.whenHidden === "Continue" ? 1 : 0;
    this.rules.push(this.entryCount, count, ACTIONS.indexOf(rule.action), continues, policy);
    this.ruleNames.push(rule.name);
    for (const entry of rule.to ?? []) this.addEntry(entry, used);
  }

  private addEntry(entry: Destination, used: { names: Set<number>; cidrs: Set<number> }): void {
    const names = entry.domains === null ? NONE : this.sets.addNames(entry.domains);
    const cidrs = entry.cidrs === null ? NONE : this.sets.addCidrs(entry.cidrs, entry.except);
    const group = entry.group === null ? null : this.group(entry.group);
    const groupState = entry.group === null ? GROUP.none : group === null ? GROUP.missing : GROUP.known;
    const groupName = entry.group === null ? NONE : this.groupNames.push(entry.group) - 1;
    const firstPort = this.portCount;
    for (const { protocol, from, to } of entry.ports ?? []) {
      this.ports.push(protocol, from, to);
      this.portCount++;
    }
    const ports = entry.ports === null ? NONE : entry.ports.length;
    const http = entry.http === null ? NONE : this.http.push(entry.http) - 1;
    const groupNames = group?.names ?? NONE;
    const groupCidrs = group?.cidrs ?? NONE;
    this.entries.push(
      names,
      cidrs,
      groupState,
      groupNames,
      groupCidrs,
      firstPort,
      ports,
      http,
      tlsFlags(entry.tls),
      groupName,
    );
    this.entryCount++;
    for (const set of [names, groupNames]) if (set !== NONE) used.names.add(set);
    for (const set of [cidrs, groupCidrs]) if (set !== NONE) used.cidrs.add(set);
  }

  private group(name: string): GroupSets | null {
    const known = this.groupSets.get(name);
    if (known !== undefined) return known;
    const group = this.groups.get(name);
    if (group === undefined) return null;
    const sets = {
      names: group.domains.length === 0 ? NONE : this.sets.addNames(group.domains),
      cidrs: group.cidrs.length === 0 ? NONE : this.sets.addCidrs(group.cidrs, group.except),
    };
    this.groupSets.set(name, sets);
    return sets;
  }
}

function tlsFlags(tls: TlsMatch | null): number {
  if (tls === null) return TLS.none;
  const required = tls.required ? TLS.required : 0;
  return TLS.present | required | (tls.encryptedClientHello === "Deny" ? TLS.refuseEncryptedHello : 0);
}
