import { isDeepStrictEqual } from "node:util";
import type { NodeStatusText } from "../policy/status-schema.ts";

export type NodeEntry = NonNullable<NodeStatusText["policies"]>[number];

/** What the nodes say of one object, by node. */
export type ObjectReports = ReadonlyMap<string, NodeEntry>;

const NONE: ObjectReports = new Map();

/** What every node's agent says it enforces, findable by the object that is spoken of. */
export class NodeReports {
  readonly #byUid = new Map<string, Map<string, NodeEntry>>();
  readonly #nodes = new Map<string, readonly NodeEntry[]>();

  /** Takes a node's newest words. Returns the uids of the objects of which something else is known now. */
  set(node: string, status: NodeStatusText): ReadonlySet<string> {
    const before = new Map((this.#nodes.get(node) ?? []).map((entry) => [entry.uid, entry]));
    const now = new Map((status.policies ?? []).map((entry) => [entry.uid, entry]));
    const changed = new Set<string>();
    for (const uid of before.keys()) {
      if (now.has(uid)) continue;
      this.#forget(uid, node);
      changed.add(uid);
    }
    for (const [uid, entry] of now) {
      const old = before.get(uid);
      if (isDeepStrictEqual(old, entry)) continue;
      this.#nodesOf(uid).set(node, entry);
      changed.add(uid);
    }
    this.#nodes.set(node, [...now.values()]);
    return changed;
  }

  /** The node is gone. Returns as `set`. */
  delete(node: string): ReadonlySet<string> {
    const changed = this.set(node, {});
    this.#nodes.delete(node);
    return changed;
  }

  of(uid: string): ObjectReports {
    return this.#byUid.get(uid) ?? NONE;
  }

  #nodesOf(uid: string): Map<string, NodeEntry> {
    const known = this.#byUid.get(uid);
    if (known !== undefined) return known;
    const fresh = new Map<string, NodeEntry>();
    this.#byUid.set(uid, fresh);
    return fresh;
  }

  #forget(uid: string, node: string): void {
    const nodes = this.#byUid.get(uid);
    nodes?.delete(node);
    if (nodes?.size === 0) this.#byUid.delete(uid);
  }
}
