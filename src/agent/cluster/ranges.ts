import { type Fields, fields, pick } from "../../kube/object.ts";
import type { Resource } from "../../kube/reflector.ts";
import { UNINSTALL_KEY } from "./uninstall.ts";

/** The ConfigMap in Sallyport's namespace in which the controller says what only a look at all Nodes can tell. */
export const RANGES_NAME = "sallyport-ranges";
export const RANGES_KEY = "podCIDRs";
/** Key of the same object: how many Nodes there are, about. */
export const NODES_KEY = "nodes";

/** One small object instead of all Nodes, whose heartbeats would reach every agent. */
export function rangesResource(namespace: string): Omit<Resource, "name"> {
  return {
    path: `/api/v1/namespaces/${namespace}/configmaps`,
    fieldSelector: `metadata.name=${RANGES_NAME}`,
    trim: (object) => ({ data: pick(object["data"], RANGES_KEY, NODES_KEY, UNINSTALL_KEY) }),
    optional: true,
  };
}

/** The pod ranges of all nodes, as texts. */
export function rangesOf(object: Fields): string[] {
  const text = fields(object["data"])[RANGES_KEY];
  return typeof text === "string" ? text.split("\n").filter((line) => line !== "") : [];
}

/** 0 where it is not said. */
export function nodesOf(object: Fields): number {
  const count = Number(fields(object["data"])[NODES_KEY] ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}
