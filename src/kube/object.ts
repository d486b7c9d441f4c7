export type Fields = Readonly<Record<string, unknown>>;

/** What is kept of an object: enough to tell it from another of its name, and what the agent reads of it. */
export interface KubeObject {
  /** `namespace/name`, or the name alone. */
  readonly key: string;
  readonly uid: string;
  /** The object, trimmed. Of one that is held packed it is made anew each time: ask once. */
  readonly value: Fields;
  /** Where it is known without `value`: of what the object's author wrote. */
  readonly generation?: number;
  /** Whether `value` is the same. Where there is no such method its text tells. */
  is?(value: Fields): boolean;
}

/** How an object is held from now on: as it is, or in less memory. */
export type Hold = (object: KubeObject) => KubeObject;

/** Takes from an object what is read of it; the rest is never kept. */
export type Trim = (object: Fields) => Fields;

/** @returns null where it has no name or no UID: no API server sends that */
export function keep(object: Fields, trim: Trim): KubeObject | null {
  const { name, namespace, uid } = fields(object["metadata"]);
  if (typeof name !== "string" || typeof uid !== "string" || name === "" || uid === "") return null;
  return { key: typeof namespace === "string" ? `${namespace}/${name}` : name, uid, value: trim(object) };
}

export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Of what the object's author wrote; 0 where it is not said. */
export function generationOf(object: Pick<KubeObject, "value" | "generation">): number {
  if (object.generation !== undefined) return object.generation;
  const { generation } = fields(object.value["metadata"]);
  return typeof generation === "number" ? generation : 0;
}

/** Of a map, these of its fields that it has. */
export function pick(value: unknown, ...names: readonly string[]): Fields {
  const from = fields(value);
  return Object.fromEntries(names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]])));
}
