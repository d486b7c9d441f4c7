import { destinationFromUrl, type Destination as Where } from "../../src/decide/destination.ts";
import { explainDestination } from "../../src/decide/explain.ts";
import type { AgentConfig } from "../../src/model/config.ts";
import type { Action, Decision, Reason } from "../../src/model/decision.ts";
import type { Facts } from "../../src/model/facts.ts";
import type {
  Destination,
  DestinationGroup,
  LabelSelector,
  PathMatch,
  Policy,
  Rule,
  RuleAction,
  Subject,
} from "../../src/model/policy.ts";
import { unboundFacts } from "../../src/model/unbound-facts.ts";
import type { Workload } from "../../src/model/workload.ts";
import { type Address, ipv4, parseAddress } from "../../src/net/address.ts";
import { type Cidr, parseCidr } from "../../src/net/cidr.ts";
import { type DomainPattern, parseDomainPattern } from "../../src/net/pattern.ts";
import { type PortRange, type ProtocolName, protocolNumber, TCP } from "../../src/net/ports.ts";
import { compileProgram } from "../../src/program/compile.ts";
import { openProgram, type Program } from "../../src/program/program.ts";

/** A row that is decided on paper; data only, so that `explain` and the lab can try the same row. */
export interface Case {
  /** `namespace/pod` */
  readonly from: string;
  /** As `explain --to` takes it. */
  readonly to: string;
  /** As `explain --ip` takes it. */
  readonly ip?: string;
  readonly method?: string;
  readonly expect: Expected;
}

/** What is not given is not asked. */
export interface Expected {
  readonly action: Action;
  readonly policy?: string | null;
  readonly rule?: string | null;
  readonly reason?: Reason;
}

export function allow(policy: string, rule: string): Expected {
  return { action: "Allow", policy, rule, reason: "RuleMatched" };
}

export function deny(policy: string, rule: string, reason: Reason = "RuleMatched"): Expected {
  return { action: "Deny", policy, rule, reason };
}

/** Decided by no rule. */
export function allowed(reason: Reason): Expected {
  return { action: "Allow", policy: null, rule: null, reason };
}

/** Decided by no rule. */
export function denied(reason: Reason = "DefaultDeny"): Expected {
  return { action: "Deny", policy: null, rule: null, reason };
}

export interface Scene {
  readonly policies: readonly Policy[];
  readonly groups?: readonly DestinationGroup[];
  readonly workloads: readonly Workload[];
  readonly config?: Partial<AgentConfig>;
  readonly nodeAddresses?: readonly Address[];
}

export function compileScene({ policies, groups = [], workloads, config = {}, nodeAddresses = [] }: Scene): Program {
  return openProgram(
    compileProgram({ epoch: 1, policies, groups, workloads, config: agentConfig(config), nodeAddresses }),
  );
}

/** What the enforced walk says of a row: the same path as `explain`. */
export function decideCase(scene: Scene, program: Program, row: Case): Decision {
  const source = scene.workloads.find(({ namespace, name }) => `${namespace}/${name}` === row.from);
  if (source === undefined) throw new Error(`no workload \`${row.from}\``);
  const where: Where = destinationFromUrl(row.to, { ip: row.ip, method: row.method });
  if (where.kind === "problem") throw new Error(where.problem);
  const { decision } = explainDestination(program, program.classOf(source.id), where);
  if (decision === null) throw new Error(`\`${row.to}\` stays undecided`);
  return decision;
}

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`\`${text}\` is no address`);
  return parsed;
}

export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.cidr;
}

export function domain(text: string): DomainPattern {
  const parsed = parseDomainPattern(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.pattern;
}

/** `TCP 443`, `TCP 1-1024`, `UDP`, `Any`. */
export function ports(text: string): PortRange {
  const [protocol = "", range = "0-65535"] = text.split(" ");
  const [from = "", to = from] = range.split("-");
  return { protocol: protocolNumber(protocol as ProtocolName), from: Number(from), to: Number(to) };
}

export interface EntryText {
  readonly domains?: readonly string[];
  readonly cidrs?: readonly string[];
  readonly except?: readonly string[];
  readonly group?: string;
  readonly ports?: readonly string[];
  readonly methods?: readonly string[];
  readonly paths?: readonly PathMatch[];
  readonly tls?: "required" | "noEncryptedHello";
}

export function entry(text: EntryText): Destination {
  const http = text.methods !== undefined || text.paths !== undefined;
  return {
    domains: text.domains?.map(domain) ?? null,
    cidrs: text.cidrs?.map(cidr) ?? null,
    except: text.except?.map(cidr) ?? [],
    group: text.group ?? null,
    ports: text.ports?.map(ports) ?? null,
    http: http ? { methods: text.methods ?? null, paths: text.paths ?? null } : null,
    tls:
      text.tls === undefined
        ? null
        : { required: text.tls === "required", encryptedClientHello: text.tls === "required" ? "Allow" : "Deny" },
  };
}

/** No entries: every destination. */
export function rule(name: string, action: RuleAction, ...to: readonly EntryText[]): Rule {
  return { name, action, to: to.length === 0 ? null : to.map(entry), whenHidden: "Deny" };
}

export function hiddenContinues(of: Rule): Rule {
  return { ...of, whenHidden: "Continue" };
}

export function labels(wanted: Readonly<Record<string, string>>): LabelSelector {
  return {
    requirements: Object.entries(wanted).map(([key, value]) => ({ key, operator: "In", values: [value] })),
  };
}

export const EVERYBODY: Subject = { namespaceSelector: null, podSelector: null, serviceAccounts: null };

/** A ClusterEgressPolicy of tier Admin with `defaultDeny: true` for everybody, unless said otherwise. */
export function policy(name: string, rules: readonly Rule[], more: Partial<Policy> = {}): Policy {
  const namespaced = more.namespace !== undefined && more.namespace !== null;
  return {
    kind: namespaced ? "EgressPolicy" : "ClusterEgressPolicy",
    name,
    namespace: null,
    tier: namespaced ? "Namespace" : "Admin",
    priority: 1000,
    mode: "Enforce",
    defaultDeny: true,
    subject: EVERYBODY,
    rules,
    ...more,
  };
}

export function group(name: string, of: Pick<EntryText, "domains" | "cidrs" | "except">): DestinationGroup {
  return {
    name,
    domains: of.domains?.map(domain) ?? [],
    cidrs: of.cidrs?.map(cidr) ?? [],
    except: of.except?.map(cidr) ?? [],
  };
}

/** `path` is `namespace/pod`; workload number `id` has the address 10.244.0.`id`. */
export function workload(id: number, path: string, more: Partial<Workload> = {}): Workload {
  const [namespace = "", name = ""] = path.split("/");
  return {
    id,
    uid: `uid-${id}`,
    namespace,
    name,
    labels: {},
    namespaceLabels: {},
    serviceAccount: "default",
    addresses: [ipv4(0x0af40000 + id)],
    node: null,
    ...more,
  };
}

export function agentConfig(more: Partial<AgentConfig> = {}): AgentConfig {
  const resolvers = [address("10.96.0.10")];
  return {
    resolvers,
    agentResolvers: resolvers,
    clusterCIDRs: [cidr("10.244.0.0/16"), cidr("10.96.0.0/12")],
    podCIDRs: [cidr("10.244.0.0/24")],
    podInterfaces: [],
    internalEndpoints: [],
    clusterDomain: "cluster.local",
    systemNamespaces: ["kube-system", "sallyport"],
    sources: [],
    failMode: "Closed",
    existingFlows: "Adopt",
    dnsDenial: "NXDomain",
    markMask: 0x3f,
    queueNumber: 5100,
    limits: {
      lookingFlows: 4096,
      heldPackets: 64,
      reassemblyBytes: 4 * 1024 * 1024,
      bindings: 4096,
      pendingQuestions: 512,
      resolutions: 32,
      unknownSourceHold: 2000,
      factsTimeout: 30_000,
    },
    ...more,
  };
}

/** The first packet of a TCP connection to 203.0.113.7:443, names still to come, unless said otherwise. */
export function facts(more: Partial<Facts> = {}): Facts {
  return { ...unboundFacts(ipv4(0xcb007107), 443, TCP), ...more };
}
