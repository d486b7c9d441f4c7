import { oneLine } from "./check.ts";
import { ownPart, pathText } from "./cluster-reading.ts";
import { ClusterAgentConfigSpec } from "./config-schema.ts";
import { toClusterConfig, toPolicy } from "./convert.ts";
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
  const document = ownPart(kind, object);
  if (kind === "DestinationGroup") return judgement(validate(KINDS.DestinationGroup, document), () => []);
  const read: Validated<Parameters<typeof toPolicy>[0]> = validate(KINDS[kind], document);
  return judgement(read, (text) => policyRemarks(toPolicy(text), groups));
}

/** Agents find by themselves what it leaves out. */
function judgeConfig(object: unknown): ObjectJudgement {
  const { spec, metadata } = isRecord(object) ? object : {};
  const name = isRecord(metadata) ? metadata["name"] : null;
  const read = validate(ClusterAgentConfigSpec, spec);
  const { errors, warnings } = judgement(
    read,
    (text) => {
      const { podCIDRs, clusterCIDRs } = toClusterConfig(text);
      return podCIDRs === null || clusterCIDRs === null ? [] : configRemarks({ podCIDRs, clusterCIDRs });
    },
    ["spec"],
  );
  if (name === USED_CONFIG) return { errors, warnings };
  return {
    errors,
    warnings: [...warnings, `metadata.name: agents read the AgentConfig \`${USED_CONFIG}\` and no other`],
  };
}

function judgement<T>(
  read: Validated<T>,
  remarks: (value: T) => readonly Remark[],
  base: Violation["path"] = [],
): ObjectJudgement {
  const line = ({ path, message }: Pick<Violation, "path" | "message">, below: Violation["path"] = []): string =>
    oneLine(`${pathText([...below, ...path])}: ${message}`, LONGEST_LINE);
  if (read.ok) return { errors: [], warnings: remarks(read.value).map((remark) => line(remark)) };
  const unknown = read.violations.filter(({ code }) => code === "UnknownField");
  return {
    errors: read.violations
      .filter(({ code }) => code !== "UnknownField")
      .map((one) => line(one, base))
      .sort(),
    warnings: unknown.map((one) => `${line(one, base)}; where this version does not know it, it opens nothing`).sort(),
  };
}
