import type { KubeObject } from "./object.ts";

export type Change =
  | { readonly type: "added" | "removed"; readonly object: KubeObject }
  | { readonly type: "changed"; readonly object: KubeObject; readonly before: KubeObject };

/**
 * What a whole list says against what was known: what has not changed is the same object in both. One that another of its name
 * replaced is removed, then added.
 */
export function differences(before: ReadonlyMap<string, KubeObject>, after: ReadonlyMap<string, KubeObject>): Change[] {
  const gone = [...before.values()].filter(({ key }) => !after.has(key));
  return [
    ...gone.map((object): Change => ({ type: "removed", object })),
    ...[...after.values()].flatMap((object) => {
      const known = before.get(object.key);
      return known === object ? [] : changesBetween(known, object);
    }),
  ];
}

export function changesBetween(before: KubeObject | undefined, object: KubeObject): Change[] {
  if (before === undefined) return [{ type: "added", object }];
  if (before.uid === object.uid) return [{ type: "changed", object, before }];
  return [
    { type: "removed", object: before },
    { type: "added", object },
  ];
}

/** The API server writes the fields of an object in the same order each time; another order costs an apply, no more. */
export function same(known: KubeObject, told: KubeObject): boolean {
  if (known.uid !== told.uid) return false;
  return known.is?.(told.value) ?? JSON.stringify(known.value) === JSON.stringify(told.value);
}
