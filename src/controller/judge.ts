import { KIND_OF, type KindResource } from "../agent/cluster/resources.ts";
import { type Fields, fields, type KubeObject } from "../kube/object.ts";
import { readClusterConfig } from "../policy/cluster-reading.ts";
import { type DocumentFile, DocumentReader } from "../policy/documents.ts";
import { API_VERSION } from "../policy/schema.ts";
import type { Judgement } from "./object-status.ts";

const GOOD: Judgement = { errors: [], warnings: [] };
const MOST_LINES = 16;

interface Known {
  readonly value: Fields;
  readonly file: DocumentFile;
}

/**
 * Judges the policies and groups of the cluster as `sallyport validate` judges files: each by itself, and all together (groups that are
 * missing, rules that never decide). What has not changed is not read again. An AgentConfig is read as the agents read it: they find by
 * themselves what it leaves out.
 */
export class Judge {
  readonly #reader = new DocumentReader(true);
  #known = new Map<string, Known>();

  /** @returns what is to be said of an object, by `resource/key` */
  judge(
    objects: Iterable<{ readonly resource: KindResource; readonly object: KubeObject }>,
  ): (id: string) => Judgement {
    const known = new Map<string, Known>();
    const said = new Map<string, { errors: string[]; warnings: string[] }>();
    for (const { resource, object } of objects) {
      const path = `${resource}/${object.key}`;
      const { value } = object;
      if (resource === "agentconfigs") {
        const { flaw } = readClusterConfig(value);
        if (flaw !== null) said.set(path, { errors: [flaw.message], warnings: [] });
        continue;
      }
      const before = this.#known.get(path);
      known.set(path, before?.value === value ? before : { value, file: { path, text: documentOf(resource, value) } });
    }
    this.#known = known;
    for (const { file, severity, message } of this.#reader.load([...known.values()].map(({ file }) => file)).problems) {
      const own = said.get(file) ?? { errors: [], warnings: [] };
      said.set(file, own);
      const lines = severity === "error" ? own.errors : own.warnings;
      if (lines.length < MOST_LINES) lines.push(message);
    }
    return (id) => said.get(id) ?? GOOD;
  }
}

/** JSON, which is YAML. An item of a list does not say its kind. */
function documentOf(resource: KindResource, value: Fields): string {
  const { name, namespace } = fields(value["metadata"]);
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
  return JSON.stringify({ apiVersion: API_VERSION, kind: KIND_OF[resource], metadata, spec: value["spec"] ?? {} });
}
