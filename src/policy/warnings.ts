import type { AgentConfig } from "../model/config.ts";
import {
  type Destination,
  type DestinationGroup,
  type LabelSelector,
  type Policy,
  policyRef,
  type Rule,
} from "../model/policy.ts";
import { cidrCovers, formatCidr } from "../net/cidr.ts";
import { ANY_PROTOCOL, TCP, UDP } from "../net/ports.ts";
import { type Path, shown } from "./check.ts";
import { nearest } from "./nearest.ts";
import type { ProblemCode } from "./problem.ts";
import { findShadows } from "./shadowing.ts";
import type { Position } from "./yaml-source.ts";

/** A value read from a document, and where its parts stand. */
export interface Located<T> {
  readonly value: T;
  readonly file: string;
  locate(path: Path, where: "key" | "value"): Position;
}

export interface Warning extends Position {
  readonly file: string;
  readonly code: ProblemCode;
  readonly message: string;
}

export interface Loaded {
  readonly policies: readonly Located<Policy>[];
  readonly groups: readonly Located<DestinationGroup>[];
  readonly configs: readonly Located<AgentConfig>[];
}

/** What is legal and surely not meant, at `path` of the object. */
export interface Remark {
  readonly code: ProblemCode;
  readonly path: Path;
  readonly message: string;
}

/** What has to be known of each group, by name. */
export type KnownGroups = ReadonlyMap<string, { readonly domains: { readonly length: number } }>;

/** What is legal and surely not meant. */
export function warnAbout({ policies, groups, configs }: Loaded): Warning[] {
  const known = new Map(groups.map(({ value }) => [value.name, value]));
  return [
    ...policies.flatMap((policy) => place(policy, policyRemarks(policy.value, known))),
    ...configs.flatMap((config) => place(config, configRemarks(config.value))),
  ];
}

function place<T>(located: Located<T>, remarks: readonly Remark[]): Warning[] {
  return remarks.map(({ code, path, message }) => ({
    code,
    message,
    file: located.file,
    ...located.locate(path, "value"),
  }));
}

/** `groups`: null where it is not known which there are. */
export function policyRemarks(policy: Policy, groups: KnownGroups | null): Remark[] {
  const remarks: Remark[] = [];
  if (policy.rules.length === 0 && !policy.defaultDeny) {
    const message = `${shown(policyRef(policy))} has no rules and no default deny, so it does nothing: add rules or \`defaultDeny: true\``;
    remarks.push({ code: "EmptyPolicy", path: ["spec"], message });
  }
  for (const field of ["namespaceSelector", "podSelector"] as const) {
    const key = policy.subject[field] === null ? null : unmeetable(policy.subject[field]);
    if (key === null) continue;
    const message = `what \`${field}\` asks of the label ${shown(key)} no object can meet, so the policy selects nothing: take one requirement out`;
    remarks.push({ code: "SelectsNothing", path: ["spec", "subject", field], message });
  }
  const anybody = openToAnybody(policy);
  if (anybody !== null) remarks.push(anybody);
  const shadows = findShadows(policy.rules);
  if (!shadows.complete) {
    const message = `the rules name too much to be compared with each other, so not every rule that never decides is said: split the policy, or use a group`;
    remarks.push({ code: "TooMany", path: ["spec", "rules"], message });
  }
  for (const [index, rule] of policy.rules.entries()) {
    const path = ["spec", "rules", index];
    const shadow = shadows.by[index];
    if (shadow) {
      const message = `rule ${shown(rule.name)} never decides: ${shown(shadow.name)} above it covers all of it; move it up, or remove it`;
      remarks.push({ code: "ShadowedRule", path: [...path, "name"], message });
    }
    for (const [entry, destination] of (rule.to ?? []).entries()) {
      remarks.push(...destinationRemarks(rule, destination, [...path, "to", entry], groups));
    }
  }
  return remarks;
}

function destinationRemarks(rule: Rule, to: Destination, path: Path, groups: KnownGroups | null): Remark[] {
  const remarks: Remark[] = [];
  if (Object.values(to).every((field) => field === null || (Array.isArray(field) && field.length === 0))) {
    const message = "the entry has no field, so it matches every destination: leave `to` out if that is meant";
    remarks.push({ code: "EmptyEntry", path, message });
  }
  const group = to.group === null ? null : (groups?.get(to.group) ?? null);
  if (to.group !== null && groups !== null && group === null)
    remarks.push(noSuchGroup(rule, to.group, [...path, "group"], [...groups.keys()]));
  const opens = rule.action === "Allow" || rule.action === "Pass";
  const field = to.domains !== null ? "domains" : group !== null && group.domains.length > 0 ? "group" : null;
  if (opens && field !== null && to.ports === null) {
    const message = `\`${field}\` without \`ports\` opens every port and protocol of these names: add \`ports\`, as in \`[{ protocol: TCP, port: 443 }]\``;
    remarks.push({ code: "DomainsWithoutPorts", path: [...path, field], message });
  }
  if (
    to.http !== null &&
    to.ports?.every(({ protocol, from, to: last }) => protocol === TCP && from === last && TLS_PORTS.has(from))
  ) {
    const message =
      "`http` reads plaintext, and these ports carry TLS, so the entry matches nothing: use port 80, or leave `http` out";
    remarks.push({ code: "HttpOnTlsPort", path: [...path, "http"], message });
  }
  const dns = rule.action === "Allow" ? (to.ports?.findIndex(namesPort53) ?? -1) : -1;
  if (dns >= 0) {
    const message = `rule ${shown(rule.name)} allows port 53: whoever answers there is a tunnel for any data, and its answers are not learned; remove it unless that is meant`;
    remarks.push({ code: "AllowsPort53", path: [...path, "ports", dns], message });
  }
  return remarks;
}

/** HTTPS, SMTPS, LDAPS, DNS over TLS, IMAPS, POP3S. */
const TLS_PORTS: ReadonlySet<number> = new Set([443, 465, 636, 853, 993, 995, 8443]);

function namesPort53({
  protocol,
  from,
  to,
}: {
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
}): boolean {
  return (protocol === UDP || protocol === TCP || protocol === ANY_PROTOCOL) && from <= 53 && to >= 53;
}

function noSuchGroup(rule: Rule, name: string, path: Path, known: readonly string[]): Remark {
  const effect = rule.action === "Deny" ? "the entry matches everything" : "the entry matches nothing";
  const meant = nearest(name, known);
  const right = meant === null ? "add a DestinationGroup of that name" : `did you mean \`${meant}\`?`;
  return { code: "NoSuchGroup", path, message: `there is no group ${shown(name)}, so ${effect}: ${right}` };
}

/** The first label key whose requirements contradict each other, or null. */
function unmeetable(selector: LabelSelector): string | null {
  for (const key of new Set(selector.requirements.map((requirement) => requirement.key))) {
    const all = selector.requirements.filter((requirement) => requirement.key === key);
    const of = (operator: string) => all.filter((requirement) => requirement.operator === operator);
    const present = of("Exists").length + of("In").length > 0;
    const excluded = new Set(of("NotIn").flatMap(({ values }) => values));
    const [first, ...rest] = of("In").map(({ values }) => values);
    const left = first?.filter((value) => rest.every((values) => values.includes(value)) && !excluded.has(value));
    if ((present && of("DoesNotExist").length > 0) || left?.length === 0) return key;
  }
  return null;
}

/** Labels of pods, and accounts, are for each namespace's own people to give. */
function openToAnybody({ kind, subject, rules }: Policy): Remark | null {
  if (kind !== "ClusterEgressPolicy" || asks(subject.namespaceSelector)) return null;
  const field = asks(subject.podSelector) ? "podSelector" : subject.serviceAccounts !== null ? "serviceAccounts" : null;
  const opens = rules.find(({ action, to }) => (action === "Allow" || action === "Pass") && to?.length !== 0);
  if (field === null || opens === undefined) return null;
  const message = `\`${field}\` alone says who may use rule ${shown(opens.name)}: whoever makes pods in any namespace can have what it opens; add \`namespaceSelector\``;
  return { code: "OpenToAnybody", path: ["spec", "subject"], message };
}

function asks(selector: LabelSelector | null): boolean {
  return selector !== null && selector.requirements.length > 0;
}

export function configRemarks(config: Pick<AgentConfig, "podCIDRs" | "clusterCIDRs">): Remark[] {
  return config.podCIDRs.flatMap((range, index) => {
    if (config.clusterCIDRs.some((outer) => cidrCovers(outer, range))) return [];
    const message = `${shown(formatCidr(range))} lies in none of \`clusterCIDRs\`, so traffic between pods counts as egress: add its range there`;
    return [{ code: "ConfigSuspect", path: ["spec", "podCIDRs", index], message }];
  });
}
