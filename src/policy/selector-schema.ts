import * as z from "zod";
import { at, checked, shown } from "./check.ts";
import { LabelKey, LabelValue, listOf, ObjectName } from "./values.ts";

const Requirement = checked(
  z.object({
    key: LabelKey,
    operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
    values: z.array(LabelValue).optional(),
  }),
  {
    name: "values-with-operator",
    cel: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    find({ key, operator, values = [] }) {
      const needs = operator === "In" || operator === "NotIn";
      if (needs && values.length === 0)
        return at(`\`${operator}\` on ${shown(key)} has no values: name at least one in \`values\``);
      if (!needs && values.length > 0)
        return at(`\`${operator}\` on ${shown(key)} takes no values: leave \`values\` out`, "values");
      return null;
    },
  },
);

/** Kubernetes LabelSelector; an empty one selects everything. */
export const Selector = z.object({
  matchLabels: z.record(LabelKey, LabelValue).optional(),
  matchExpressions: z.array(Requirement).optional(),
});

const serviceAccounts = listOf(
  ObjectName,
  "`serviceAccounts` is empty: leave it out to mean every service account",
).optional();

export const ClusterSubject = z
  .object({ namespaceSelector: Selector.optional(), podSelector: Selector.optional(), serviceAccounts })
  .meta({ description: "Whom the policy selects; fields are ANDed. Empty: every pod outside the system namespaces." });

export const NamespaceSubject = z
  .object({ podSelector: Selector.optional(), serviceAccounts })
  .meta({ description: "Whom the policy selects in its namespace; fields are ANDed. Empty: every pod." });

export type SelectorText = z.output<typeof Selector>;
export type SubjectText = z.output<typeof ClusterSubject>;
