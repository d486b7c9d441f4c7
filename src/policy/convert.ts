import type { AgentConfig, ClusterAgentConfig, InternalEndpoint } from "../model/config.ts";
import type {
  Destination,
  DestinationGroup,
  HttpMatch,
  LabelRequirement,
  LabelSelector,
  Policy,
  Rule,
  Subject,
} from "../model/policy.ts";
import { type Address, parseAddress } from "../net/address.ts";
import { type Cidr, parseCidr } from "../net/cidr.ts";
import { type DomainPattern, parseDomainPattern } from "../net/pattern.ts";
import { MAX_PORT, type PortRange, protocolNumber } from "../net/ports.ts";
import { type AgentConfigText, type ClusterAgentConfigText, markMaskOf } from "./config-schema.ts";
import type { DestinationText, GroupText } from "./destination-schema.ts";
import type { KindText, RuleText } from "./schema.ts";
import type { SelectorText, SubjectText } from "./selector-schema.ts";

/** Documents that passed validation → model. Texts in them parse, or validation is broken: that throws. */
export function toPolicy(text: KindText<"ClusterEgressPolicy"> | KindText<"EgressPolicy">): Policy {
  const { spec, metadata } = text;
  return {
    kind: text.kind,
    name: metadata.name,
    namespace: text.kind === "EgressPolicy" ? text.metadata.namespace : null,
    tier: text.kind === "EgressPolicy" ? "Namespace" : text.spec.tier,
    priority: spec.priority,
    mode: spec.mode,
    defaultDeny: spec.defaultDeny,
    subject: toSubject(spec.subject),
    rules: spec.rules.map(toRule),
  };
}

export function toGroup(name: string, spec: GroupText): DestinationGroup {
  return {
    name,
    domains: (spec.domains ?? []).map(domain),
    cidrs: (spec.cidrs ?? []).map(cidr),
    except: (spec.except ?? []).map(cidr),
  };
}

export function toConfig(spec: AgentConfigText): AgentConfig {
  const config = wholeConfig(toClusterConfig(spec));
  if (config === null) throw new Error("what a file must say passed validation and is missing");
  return config;
}

/** With what may be left out; null where something is missing that may not. */
export function wholeConfig(said: ClusterAgentConfig): AgentConfig | null {
  const { resolvers } = said;
  // Behind interfaces that are known to be the pods' there is no need of ranges.
  const podCIDRs = said.podCIDRs ?? (said.podInterfaces.length > 0 ? [] : null);
  if (resolvers === null || podCIDRs === null) return null;
  return {
    ...said,
    resolvers,
    agentResolvers: said.agentResolvers ?? resolvers,
    clusterCIDRs: said.clusterCIDRs ?? [],
    podCIDRs,
    internalEndpoints: said.internalEndpoints ?? [],
  };
}

export function toClusterConfig(spec: ClusterAgentConfigText): ClusterAgentConfig {
  const mask = markMaskOf(spec.markMask);
  if (mask === null) throw new Error("markMask passed validation and is none");
  return {
    resolvers: spec.resolvers?.map(address) ?? null,
    agentResolvers: spec.agentResolvers?.map(address) ?? null,
    clusterCIDRs: spec.clusterCIDRs?.map(cidr) ?? null,
    podCIDRs: spec.podCIDRs?.map(cidr) ?? null,
    podInterfaces: spec.podInterfaces,
    internalEndpoints: spec.internalEndpoints?.map(toEndpoint) ?? null,
    clusterDomain: spec.clusterDomain,
    systemNamespaces: spec.systemNamespaces,
    sources: spec.sources,
    failMode: spec.failMode,
    existingFlows: spec.existingFlows,
    dnsDenial: spec.dnsDenial,
    markMask: mask,
    queueNumber: spec.queueNumber,
    limits: spec.limits,
  };
}

function toEndpoint(endpoint: AgentConfigText["internalEndpoints"][number]): InternalEndpoint {
  return { address: address(endpoint.address), protocol: protocolNumber(endpoint.protocol), port: endpoint.port };
}

function toSubject(subject: SubjectText): Subject {
  return {
    namespaceSelector: subject.namespaceSelector === undefined ? null : toSelector(subject.namespaceSelector),
    podSelector: subject.podSelector === undefined ? null : toSelector(subject.podSelector),
    serviceAccounts: subject.serviceAccounts ?? null,
  };
}

export function toSelector({ matchLabels = {}, matchExpressions = [] }: SelectorText): LabelSelector {
  const equal = Object.entries(matchLabels).map(
    ([key, value]): LabelRequirement => ({ key, operator: "In", values: [value] }),
  );
  const others = matchExpressions.map(
    ({ key, operator, values = [] }): LabelRequirement => ({ key, operator, values }),
  );
  return { requirements: [...equal, ...others] };
}

function toRule({ name, action, to, whenHidden }: RuleText): Rule {
  return { name, action, to: to?.map(toDestination) ?? null, whenHidden: whenHidden ?? "Deny" };
}

function toDestination(entry: DestinationText): Destination {
  return {
    domains: entry.domains?.map(domain) ?? null,
    cidrs: entry.cidrs?.map(cidr) ?? null,
    except: (entry.except ?? []).map(cidr),
    group: entry.group ?? null,
    ports: entry.ports?.map(toPorts) ?? null,
    http: entry.http === undefined ? null : toHttp(entry.http),
    tls: entry.tls ?? null,
  };
}

function toPorts({ protocol, port, endPort }: NonNullable<DestinationText["ports"]>[number]): PortRange {
  return { protocol: protocolNumber(protocol), from: port ?? 0, to: endPort ?? port ?? MAX_PORT };
}

function toHttp({ methods, paths }: NonNullable<DestinationText["http"]>): HttpMatch {
  return {
    methods: methods ?? null,
    paths:
      paths?.map(({ exact, prefix, suffix, regex }) => {
        if (exact !== undefined) return { kind: "exact", value: exact };
        if (prefix !== undefined) return { kind: "prefix", value: prefix };
        if (suffix !== undefined) return { kind: "suffix", value: suffix };
        return { kind: "regex", value: regex ?? "" };
      }) ?? null,
  };
}

function domain(text: string): DomainPattern {
  const result = parseDomainPattern(text);
  if (!result.ok) throw new Error(result.problem);
  return result.pattern;
}

function cidr(text: string): Cidr {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
}

function address(text: string): Address {
  const result = parseAddress(text);
  if (result === null) throw new Error(`${text} is no address`);
  return result;
}
