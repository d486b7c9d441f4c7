import type { ClusterAgentConfig } from "../model/config.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import { oneLine } from "./check.ts";
import { ownPart, pathText } from "./cluster-reading.ts";
import { ClusterAgentConfigSpec } from "./config-schema.ts";
import { toClusterConfig, toGroup, toPolicy } from "./convert.ts";
import { KINDS, type Kind } from "./schema.ts";
import { isRecord, type Validated, type Violation, validate } from "./validate.ts";
import { configRemarks, type KnownGroups, policyRemarks, type Remark } from "./warnings.ts";

/** What `sallyport validate` says of one object, each one line: the path of a field, and what is wrong and right. */
export interface ObjectJudgement {
  /** The object cannot be used as it is written. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/** The AgentConfig that agents of a cluster read. */
const USED_CONFIG = "default";
const LONGEST_LINE = 1000;

/**
 * Judges one object that an API server is about to take. A field that is not known here is no error: the API server knows it, so it belongs to
 * a newer version, and refusing it would keep a cluster from being upgraded.
 *
 * Never throws. `groups`: null where it is not known which there are.
 */
export function judgeObject(kind: Kind, object: unknown, groups: KnownGroups | null): ObjectJudgement {
  if (kind === "AgentConfig") return judgeConfig(object);
  const { policy, errors, warnings } = readAlone(kind, object);
  return { errors, warnings: policy === null ? warnings : [...warnings, ...policyWarnings(policy, groups)] };
}

/** A policy or a group, and what can be said of it whatever others there are. Null: it is none, or cannot be used. */
export interface ReadAlone extends ObjectJudgement {
  readonly policy: Policy | null;
  readonly group: DestinationGroup | null;
}

/** Never throws. */
export function readAlone(kind: Exclude<Kind, "AgentConfig">, object: unknown): ReadAlone {
  const document = ownPart(kind, object);
  if (kind === "DestinationGroup") {
    const read = validate(KINDS.DestinationGroup, document);
    const group = read.ok ? toGroup(read.value.metadata.name, read.value.spec) : null;
    return { policy: null, group, ...violationsOf(read) };
  }
  const read: Validated<Parameters<typeof toPolicy>[0]> = validate(KINDS[kind], document);
  return { policy: read.ok ? toPolicy(read.value) : null, group: null, ...violationsOf(read) };
}

/** Warnings about a policy, as lines. `groups`: as in `judgeObject`. */
export function policyWarnings(policy: Policy, groups: KnownGroups | null): readonly string[] {
  return policyRemarks(policy, groups).map((remark) => lineOf(remark));
}

/** Agents find by themselves what it leaves out. */
function judgeConfig(object: unknown): ObjectJudgement {
  const { spec, metadata } = isRecord(object) ? object : {};
  const name = isRecord(metadata) ? metadata["name"] : null;
  const read = validate(ClusterAgentConfigSpec, spec);
  const { errors, warnings } = violationsOf(read, ["spec"]);
  const remarks = read.ok ? suspicions(toClusterConfig(read.value)).map((remark) => lineOf(remark)) : [];
  const unused =
    name === USED_CONFIG ? [] : [`metadata.name: agents read the AgentConfig \`${USED_CONFIG}\` and no other`];
  return { errors, warnings: [...warnings, ...remarks, ...unused] };
}

function suspicions({ podCIDRs, clusterCIDRs }: ClusterAgentConfig): readonly Remark[] {
  return podCIDRs === null || clusterCIDRs === null ? [] : configRemarks({ podCIDRs, clusterCIDRs });
}

/** `base`: where what was read stands in the object. */
function violationsOf(read: Validated<unknown>, base: Violation["path"] = []): ObjectJudgement {
  if (read.ok) return { errors: [], warnings: [] };
  const lines = (of: (violation: Violation) => boolean) =>
    read.violations
      .filter(of)
      .map((violation) => lineOf(violation, base))
      .sort();
  const unknown = lines(({ code }) => code === "UnknownField");
  return {
    errors: lines(({ code }) => code !== "UnknownField"),
    warnings: unknown.map((line) => `${line}; where this version does not know it, it opens nothing`),
  };
}

function lineOf({ path, message }: Pick<Violation, "path" | "message">, base: Violation["path"] = []): string {
  return oneLine(`${pathText([...base, ...path])}: ${message}`, LONGEST_LINE);
}
