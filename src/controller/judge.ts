import type { Fields } from "../kube/object.ts";
import { type DocumentFile, DocumentReader } from "../policy/documents.ts";
import type { Judgement } from "./object-status.ts";
import type { Kind } from "./sallyport-objects.ts";

const GOOD: Judgement = { errors: [], warnings: [] };
const MOST_LINES = 16;

interface Known {
  readonly value: Fields;
  readonly file: DocumentFile;
}

/**
 * Judges the objects of the cluster as `sallyport validate` judges files: each by itself, and all together (groups that are
 * missing, rules that never decide). What has not changed is not read again.
 */
export class Judge {
  readonly #reader = new DocumentReader(true);
  #known = new Map<string, Known>();

  /** @returns by `kind/key`, those that have something to be said */
  judge(
    objects: Iterable<{ readonly kind: Kind; readonly key: string; readonly value: Fields }>,
  ): (path: string) => Judgement {
    const known = new Map<string, Known>();
    for (const { kind, key, value } of objects) {
      const path = `${kind}/${key}`;
      const before = this.#known.get(path);
      known.set(
        path,
        before !== undefined && before.value === value
          ? before
          : { value, file: { path, text: documentOf(kind, value) } },
      );
    }
    this.#known = known;
    const said = new Map<string, { errors: string[]; warnings: string[] }>();
    for (const { file, severity, message } of this.#reader.load([...known.values()].map(({ file }) => file)).problems) {
      const own = said.get(file) ?? { errors: [], warnings: [] };
      said.set(file, own);
      const lines = severity === "error" ? own.errors : own.warnings;
      if (lines.length < MOST_LINES) lines.push(message);
    }
    return (path) => said.get(path) ?? GOOD;
  }
}

/** JSON, which is YAML. An item of a list does not say its kind. */
function documentOf(kind: Kind, value: Fields): string {
  const { name, namespace } = (value["metadata"] ?? {}) as { name?: unknown; namespace?: unknown };
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
  return JSON.stringify({ apiVersion: "sallyport.dev/v1alpha1", kind, metadata, spec: value["spec"] ?? {} });
}
