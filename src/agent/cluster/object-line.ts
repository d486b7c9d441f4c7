import type { Fields, KubeObject } from "../../kube/object.ts";

/** An object as one line of JSON: its key, UID and value. `value`: the text of that. */
export function lineOf({ key, uid }: Pick<KubeObject, "key" | "uid">, value: string): string {
  return `{"key":${JSON.stringify(key)},"uid":${JSON.stringify(uid)},"value":${value}}`;
}

/** @throws SyntaxError where it is none */
export function objectOf(line: string): KubeObject {
  return JSON.parse(line) as KubeObject;
}

/** What stands for a value in a line, and where values are compared. */
export function textOf(value: Fields): string {
  return JSON.stringify(value);
}
