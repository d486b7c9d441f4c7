import type { DestinationGroup, Policy } from "../../model/policy.ts";
import type { PolicyCount } from "../state.ts";
import type { ListedObject } from "./documents.ts";

export interface DocumentLists {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly listing: readonly ListedObject[];
}

/** What of the documents concerns a node, and how many there are. */
export interface NodeDocuments extends DocumentLists {
  readonly count: PolicyCount;
}

interface Entry extends ListedObject {
  readonly group: DestinationGroup | null;
}

export function listsOf(entries: readonly Entry[]): DocumentLists {
  const policies = entries.flatMap(({ policy }) => policy ?? []);
  return { policies, groups: entries.flatMap(({ group }) => group ?? []), listing: entries };
}

/**
 * The policies of the cluster and of these namespaces, every group, and whatever is refused. Thousands of others are only counted: lists
 * of them, made at every change, would be most of what a change leaves behind.
 */
export function concerning(entries: Iterable<Entry>, namespaces: ReadonlySet<string>): NodeDocuments {
  const policies: Policy[] = [];
  const groups: DestinationGroup[] = [];
  const listing: ListedObject[] = [];
  const count = { policies: 0, audited: 0 };
  for (const entry of entries) {
    const { policy, group, refused } = entry;
    let concerns = refused !== null || group !== null;
    if (group !== null) groups.push(group);
    if (policy !== null) {
      count.policies++;
      if (policy.mode === "Audit") count.audited++;
      if (policy.namespace === null || namespaces.has(policy.namespace)) {
        policies.push(policy);
        concerns = true;
      }
    }
    if (concerns) listing.push(entry);
  }
  return { policies, groups, listing, count };
}
