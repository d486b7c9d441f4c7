import { CONFIG_NAME } from "../agent/cluster/config.ts";
import { KIND_OF, type KindResource } from "../agent/cluster/resources.ts";
import { type Fields, fields, type KubeObject } from "../kube/object.ts";
import type { Policy } from "../model/policy.ts";
import { readClusterConfig } from "../policy/cluster-reading.ts";
import { type DocumentFile, DocumentReader } from "../policy/documents.ts";
import { API_VERSION } from "../policy/schema.ts";
import type { Judgement } from "./object-status.ts";
import { type PolicyShadow, PolicyShadows } from "./shadows/policy-shadows.ts";

const GOOD: Judgement = { errors: [], warnings: [], shadows: [] };
const MOST_LINES = 16;
/** What agents take where no AgentConfig says otherwise. */
const DEFAULTS = readClusterConfig(null).value;

interface Known {
  readonly value: Fields;
  readonly file: DocumentFile;
}

/**
 * Judges the policies and groups of the cluster as `sallyport validate` judges files: each by itself, and all together (groups that are
 * missing, rules that never decide, in their own policy or for one that comes before). What has not changed is not read again. An AgentConfig is read as the agents read it: they find by
 * themselves what it leaves out.
 */
export class Judge {
  readonly #reader = new DocumentReader(true);
  readonly #shadows = new PolicyShadows();
  #known = new Map<string, Known>();

  /** Policies that could not be compared with all others. */
  get unfinished(): number {
    return this.#shadows.unfinished;
  }

  /** @returns what is to be said of an object, by `resource/key` */
  judge(
    objects: Iterable<{ readonly resource: KindResource; readonly object: KubeObject }>,
  ): (id: string) => Judgement {
    const known = new Map<string, Known>();
    const said = new Map<string, Said>();
    const sayOf = (id: string): Said => {
      const own = said.get(id) ?? { errors: [], warnings: [], shadows: [] };
      said.set(id, own);
      return own;
    };
    let systemNamespaces = DEFAULTS?.systemNamespaces ?? [];
    for (const { resource, object } of objects) {
      const path = `${resource}/${object.key}`;
      const { value } = object;
      if (resource === "agentconfigs") {
        const { flaw, value: config } = readClusterConfig(value);
        if (flaw !== null) sayOf(path).errors.push(flaw.message);
        if (object.key === CONFIG_NAME && config !== null) systemNamespaces = config.systemNamespaces;
        continue;
      }
      const before = this.#known.get(path);
      known.set(path, before?.value === value ? before : { value, file: { path, text: documentOf(resource, value) } });
    }
    this.#known = known;
    const { problems, policies, groups } = this.#reader.load([...known.values()].map(({ file }) => file));
    for (const { file, severity, message } of problems) {
      const lines = severity === "error" ? sayOf(file).errors : sayOf(file).warnings;
      if (lines.length < MOST_LINES) lines.push(message);
    }
    const byName = new Map(groups.map((group) => [group.name, group]));
    for (const [policy, shadows] of this.#shadows.find(policies, byName, systemNamespaces)) {
      sayOf(idOf(policy)).shadows = shadows;
    }
    return (id) => said.get(id) ?? GOOD;
  }
}

interface Said {
  readonly errors: string[];
  readonly warnings: string[];
  shadows: readonly PolicyShadow[];
}

function idOf({ namespace, name }: Policy): string {
  return namespace === null ? `clusteregresspolicies/${name}` : `egresspolicies/${namespace}/${name}`;
}

/** JSON, which is YAML. An item of a list does not say its kind. */
function documentOf(resource: KindResource, value: Fields): string {
  const { name, namespace } = fields(value["metadata"]);
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
  return JSON.stringify({ apiVersion: API_VERSION, kind: KIND_OF[resource], metadata, spec: value["spec"] ?? {} });
}
