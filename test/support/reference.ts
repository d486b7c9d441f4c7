import type { AgentConfig } from "../../src/model/config.ts";
import type { Decision, Reason } from "../../src/model/decision.ts";
import type { Facts } from "../../src/model/facts.ts";
import type {
  Destination,
  DestinationGroup,
  HttpMatch,
  LabelSelector,
  PathMatch,
  Policy,
  Rule,
  RuleAction,
} from "../../src/model/policy.ts";
import { policyRef } from "../../src/model/policy.ts";
import type { Workload } from "../../src/model/workload.ts";
import { sameAddress } from "../../src/net/address.ts";
import { type Cidr, cidrContains } from "../../src/net/cidr.ts";
import { type DomainPattern, patternMatches } from "../../src/net/pattern.ts";
import { portsContain } from "../../src/net/ports.ts";

/**
 * The policy language once more, slow and plain, from the documents themselves: loops, no tables, no partial facts.
 * The compiled program has to agree with it wherever facts are complete.
 */
export interface World {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly config: AgentConfig;
}

type Match = "yes" | "no" | "hidden";

/** Complete facts only: ended, with evidence known to be there or absent. */
export function referenceDecide(world: World, workload: Workload, facts: Facts, walk: "enforce" | "all"): Decision {
  const { config } = world;
  const dns = facts.port === 53 && (facts.protocol === 6 || facts.protocol === 17);
  const resolver = config.resolvers.some((address) => sameAddress(address, facts.address));
  if (dns && resolver) return plain("Allow", "TrustedResolver");
  if (!dns && inside(config, facts)) return plain("Allow", "Inside");
  const selecting = referencePolicies(world, workload);
  if (walk === "enforce" && !selecting.some(({ mode }) => mode === "Enforce")) return plain("Allow", "NotIsolated");
  const policies = selecting.filter(({ mode }) => walk === "all" || mode === "Enforce");
  const standard = standardDecision(policies, (rule) => matchRule(world, rule, facts));
  if (standard?.action === "Deny") return standard;
  const end = firstMatch(policies, (rule) => matchRule(world, rule, facts));
  if (end !== null) return decisionOf(end);
  if (policies.some(({ defaultDeny }) => defaultDeny)) return plain("Deny", dns ? "OtherResolver" : "DefaultDeny");
  return standard ?? plain("Allow", "NotIsolated");
}

function decisionOf({ policy, rule, match }: End): Decision {
  const action = rule.action === "Allow" || rule.action === "Accept" ? "Allow" : "Deny";
  const reason = match === "hidden" ? "NameHidden" : "RuleMatched";
  return { action, policy: policyRef(policy), rule: rule.name, reason };
}

/** What a network that enforces the standard policies would do by them alone; null: nothing, so it lets the flow out. */
function standardDecision(policies: readonly Policy[], match: (rule: Rule) => Match): Decision | null {
  const tier = (name: Policy["tier"]) => policies.filter((policy) => policy.tier === name);
  const admin = firstOfTier(tier("StandardAdmin"), match);
  if (admin !== null) return decisionOf(admin);
  const isolating = tier("NetworkPolicy");
  const accepts = isolating
    .flatMap((policy) => policy.rules.map((rule) => ({ policy, rule, match: match(rule) })))
    .find((end) => end.match !== "no");
  if (accepts !== undefined) return decisionOf(accepts);
  const [first] = isolating;
  if (first !== undefined) {
    return { action: "Deny", policy: policyRef(first), rule: "default-deny", reason: "RuleMatched" };
  }
  const baseline = firstOfTier(tier("StandardBaseline"), match);
  return baseline === null ? null : decisionOf(baseline);
}

/** The first Accept or Deny, if no Pass stands before it. */
function firstOfTier(policies: readonly Policy[], match: (rule: Rule) => Match): End | null {
  const end = policies
    .flatMap((policy) => policy.rules.map((rule) => ({ policy, rule, match: match(rule) })))
    .find((found) => found.match !== "no");
  return end === undefined || end.rule.action === "Pass" ? null : end;
}

/** The policies that select a workload, in their order. */
export function referencePolicies({ policies, config }: World, workload: Workload): Policy[] {
  const tiers = ["StandardAdmin", "NetworkPolicy", "StandardBaseline", "Admin", "Namespace", "Baseline"];
  return policies
    .filter((policy) => selects(policy, workload, config))
    .sort(
      (a, b) =>
        tiers.indexOf(a.tier) - tiers.indexOf(b.tier) ||
        a.priority - b.priority ||
        (policyRef(a) < policyRef(b) ? -1 : 1),
    );
}

/** Whether a rule matches a flow through an entry that holds the name, by its own or its group's domains. */
export function opensByName(world: World, rule: Rule, name: string, facts: Facts): boolean {
  return (rule.to ?? []).some((entry) => {
    if (matchEntry(world, entry, rule, facts) === "no") return false;
    if (entry.domains !== null) return someName(entry.domains, [name]);
    const group = world.groups.find((candidate) => candidate.name === entry.group);
    if (group === undefined || inRanges(group.cidrs, group.except, facts)) return false;
    return someName(group.domains, [name]);
  });
}

interface End {
  readonly policy: Policy;
  readonly rule: Rule;
  readonly match: Match;
}

function firstMatch(policies: readonly Policy[], match: (rule: Rule) => Match): End | null {
  let passed: string | null = null;
  for (const policy of policies) {
    if (policy.tier === passed || policy.kind === "NetworkPolicy" || policy.kind === "ClusterNetworkPolicy") continue;
    for (const rule of policy.rules) {
      const answer = match(rule);
      if (answer === "no") continue;
      if (rule.action === "Next") break;
      if (rule.action === "Pass") {
        passed = policy.tier;
        break;
      }
      return { policy, rule, match: answer };
    }
  }
  return null;
}

function matchRule(world: World, rule: Rule, facts: Facts): Match {
  const foreign = facts.port === 53 && (facts.protocol === 6 || facts.protocol === 17);
  if (rule.to === null) return rule.action === "Allow" && foreign ? "no" : "yes";
  const answers = rule.to.map((entry) => {
    if (rule.action === "Allow" && foreign && entry.ports === null) return "no";
    return matchEntry(world, entry, rule, facts);
  });
  return answers.includes("yes") ? "yes" : answers.includes("hidden") ? "hidden" : "no";
}

function matchEntry(world: World, entry: Destination, rule: Rule, facts: Facts): Match {
  const fields: Match[] = [];
  if (entry.ports !== null) {
    const fits = entry.ports.some((range) => portsContain(range, facts.protocol, facts.port));
    fields.push(fits ? "yes" : "no");
  }
  if (entry.cidrs !== null) fields.push(inRanges(entry.cidrs, entry.except, facts) ? "yes" : "no");
  if (entry.domains !== null) fields.push(matchNames(entry.domains, entry, rule, facts));
  if (entry.group !== null) fields.push(matchGroup(world, entry, rule, facts));
  if (entry.http !== null) fields.push(matchHttp(entry.http, rule, facts));
  if (entry.tls !== null) {
    const speaks = facts.application === "TLS" || facts.application === "QUIC";
    const refused = entry.tls.encryptedClientHello === "Deny" && facts.encryptedClientHello === true;
    fields.push((entry.tls.required && !speaks) || refused ? "no" : "yes");
  }
  return fields.includes("no") ? "no" : fields.includes("hidden") ? "hidden" : "yes";
}

function matchGroup(world: World, entry: Destination, rule: Rule, facts: Facts): Match {
  const group = world.groups.find(({ name }) => name === entry.group);
  if (group === undefined) return rule.action === "Deny" ? "yes" : "no";
  if (inRanges(group.cidrs, group.except, facts)) return "yes";
  return group.domains.length === 0 ? "no" : matchNames(group.domains, entry, rule, facts);
}

function matchNames(domains: readonly DomainPattern[], entry: Destination, rule: Rule, facts: Facts): Match {
  const { names, aliases, evidence, port } = facts;
  if (rule.action === "Deny") {
    const all = typeof evidence === "string" ? [...names, ...aliases, evidence] : [...names, ...aliases];
    if (someName(domains, all)) return "yes";
    return facts.nameHidden && rule.whenHidden === "Deny" ? "hidden" : "no";
  }
  const required =
    port === 80 || port === 443 || entry.http !== null || entry.tls !== null || typeof evidence === "string";
  const evident = required ? names.filter((name) => name === evidence) : names;
  return someName(domains, evident) ? "yes" : "no";
}

function matchHttp(http: HttpMatch, rule: Rule, facts: Facts): Match {
  if (facts.application !== "HTTP" || facts.protocol !== 6) return "no";
  const { method, path } = facts;
  const unread: Match = rule.action === "Deny" && rule.whenHidden === "Deny" ? "hidden" : "no";
  const answers: Match[] = ["yes"];
  if (http.methods !== null) {
    if (method === undefined) answers.push(unread);
    else answers.push(method !== null && http.methods.includes(method) ? "yes" : "no");
  }
  if (http.paths !== null) {
    if (path === undefined) answers.push(unread);
    else answers.push(path !== null && http.paths.some((match) => pathMatches(match, path)) ? "yes" : "no");
  }
  return answers.includes("no") ? "no" : answers.includes("hidden") ? "hidden" : "yes";
}

function pathMatches({ kind, value }: PathMatch, path: string): boolean {
  if (kind === "regex") return new RegExp(`^(?:${value})$`).test(path);
  const quoted = value.replace(/[^A-Za-z0-9/]/g, "\\$&");
  const whole = { exact: `^${quoted}$`, prefix: `^${quoted}`, suffix: `${quoted}$` }[kind];
  return new RegExp(whole).test(path);
}

function someName(domains: readonly DomainPattern[], names: readonly string[]): boolean {
  return domains.some((pattern) => names.some((name) => patternMatches(pattern, name)));
}

function inRanges(cidrs: readonly Cidr[], except: readonly Cidr[], { address }: Facts): boolean {
  return cidrs.some((cidr) => cidrContains(cidr, address)) && !except.some((cidr) => cidrContains(cidr, address));
}

function inside({ clusterCIDRs, internalEndpoints }: AgentConfig, facts: Facts): boolean {
  return (
    clusterCIDRs.some((cidr) => cidrContains(cidr, facts.address)) ||
    internalEndpoints.some(
      ({ address, protocol, port }) =>
        sameAddress(address, facts.address) && protocol === facts.protocol && port === facts.port,
    )
  );
}

function selects(policy: Policy, workload: Workload, config: AgentConfig): boolean {
  const { podSelector, namespaceSelector, serviceAccounts } = policy.subject;
  const asks = (podSelector?.requirements.length ?? 0) + (namespaceSelector?.requirements.length ?? 0);
  if (policy.namespace !== null && policy.namespace !== workload.namespace) return false;
  if (policy.kind === "ClusterEgressPolicy" && asks === 0 && serviceAccounts === null) {
    if (config.systemNamespaces.includes(workload.namespace)) return false;
  }
  if (serviceAccounts !== null && !serviceAccounts.includes(workload.serviceAccount)) return false;
  const namespaceLabels = { ...workload.namespaceLabels, "kubernetes.io/metadata.name": workload.namespace };
  return labelled(podSelector, workload.labels) && labelled(namespaceSelector, namespaceLabels);
}

function labelled(selector: LabelSelector | null, labels: Readonly<Record<string, string>>): boolean {
  for (const { key, operator, values } of selector?.requirements ?? []) {
    const value = Object.entries(labels).find(([name]) => name === key)?.[1];
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
    if (operator === "In" && (value === undefined || !values.includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && values.includes(value)) return false;
  }
  return true;
}

function plain(action: Decision["action"], reason: Reason): Decision {
  return { action, policy: null, rule: null, reason };
}

/** What a rule does to the walk, for properties that speak of rules by name. */
export function ruleOf(world: World, decision: Decision): { readonly rule: Rule; readonly action: RuleAction } | null {
  const policy = world.policies.find((candidate) => policyRef(candidate) === decision.policy);
  const rule = policy?.rules.find(({ name }) => name === decision.rule);
  return rule === undefined ? null : { rule, action: rule.action };
}
