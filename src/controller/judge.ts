import { CONFIG_NAME } from "../agent/cluster/config.ts";
import { KIND_OF, type KindResource } from "../agent/cluster/resources.ts";
import type { Fields, KubeObject } from "../kube/object.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import { readClusterConfig } from "../policy/cluster-reading.ts";
import { policyWarnings, type ReadAlone, readAlone } from "../policy/object-judging.ts";
import type { Judgement } from "./object-status.ts";
import { PolicyShadows } from "./shadows/policy-shadows.ts";

const GOOD: Judgement = { errors: [], warnings: [], shadows: [] };
const MOST_LINES = 16;
/** What agents take where no AgentConfig says otherwise. */
const DEFAULTS = readClusterConfig(null).value;

/** What was said of an object for as long as it is this one, and the groups these. */
interface Known {
  readonly value: Fields;
  readonly read: ReadAlone;
  groups: Groups;
  warnings: readonly string[];
}

type Groups = ReadonlyMap<string, DestinationGroup>;

/**
 * Judges the policies and groups of the cluster as `sallyport validate` judges files: each by itself, and all together (groups that are
 * missing, rules that never decide, in their own policy or for one that comes before). What has not changed is not read again. An AgentConfig
 * is read as the agents read it: they find by themselves what it leaves out.
 */
export class Judge {
  readonly #shadows = new PolicyShadows();
  #known = new Map<string, Known>();
  #groups: Groups = new Map();

  /** Policies that could not be compared with all others. */
  get unfinished(): number {
    return this.#shadows.unfinished;
  }

  /** @returns what is to be said of an object, by `resource/key` */
  judge(
    objects: Iterable<{ readonly resource: KindResource; readonly object: KubeObject }>,
  ): (id: string) => Judgement {
    const known = new Map<string, Known>();
    const configs = new Map<string, Judgement>();
    let systemNamespaces = DEFAULTS?.systemNamespaces ?? [];
    for (const { resource, object } of objects) {
      const id = `${resource}/${object.key}`;
      if (resource === "agentconfigs") {
        const { flaw, value } = readClusterConfig(object.value);
        if (flaw !== null) configs.set(id, { ...GOOD, errors: [flaw.message] });
        if (object.key === CONFIG_NAME && value !== null) systemNamespaces = value.systemNamespaces;
        continue;
      }
      const before = this.#known.get(id);
      const same = before !== undefined && before.value === object.value;
      known.set(id, same ? before : readAnew(KIND_OF[resource], object.value));
    }
    this.#known = known;
    this.#groups = groupsOf(known.values(), this.#groups);
    const policies: Policy[] = [];
    for (const one of known.values()) {
      if (one.read.policy === null) continue;
      policies.push(one.read.policy);
      if (one.groups === this.#groups) continue;
      one.groups = this.#groups;
      one.warnings = atMost(policyWarnings(one.read.policy, this.#groups));
    }
    const shadows = this.#shadows.find(policies, this.#groups, systemNamespaces);
    return (id) => {
      const one = known.get(id);
      if (one === undefined) return configs.get(id) ?? GOOD;
      const { errors, policy, warnings } = one.read;
      const shadowed = policy === null ? undefined : shadows.get(policy);
      return { errors: atMost(errors), warnings: [...warnings, ...one.warnings], shadows: shadowed ?? GOOD.shadows };
    };
  }
}

const NO_GROUPS: Groups = new Map();

function readAnew(kind: (typeof KIND_OF)[Exclude<KindResource, "agentconfigs">], value: Fields): Known {
  return { value, read: readAlone(kind, value), groups: NO_GROUPS, warnings: [] };
}

/** `before`, where they are the same. */
function groupsOf(known: Iterable<Known>, before: Groups): Groups {
  const groups = new Map<string, DestinationGroup>();
  for (const { read } of known) if (read.group !== null) groups.set(read.group.name, read.group);
  const same = groups.size === before.size && [...groups].every(([name, group]) => before.get(name) === group);
  return same ? before : groups;
}

function atMost(lines: readonly string[]): readonly string[] {
  return lines.length <= MOST_LINES ? lines : [...lines.slice(0, MOST_LINES), `and ${lines.length - MOST_LINES} more`];
}
