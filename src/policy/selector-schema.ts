import * as z from "zod";
import { at, checked, shown } from "./check.ts";
import { LABEL_KEY, LabelKey, LabelValue, listOf, ObjectName } from "./values.ts";

const MOST_LABELS = 64;
const MOST_EXPRESSIONS = 32;

const requirement = (mostValues: number) =>
  checked(
    z
      .object({
        key: LabelKey.meta({ description: "The label." }),
        operator: z
          .enum(["In", "NotIn", "Exists", "DoesNotExist"])
          .meta({ description: "How label and `values` compare. `NotIn` holds for a label that is not there, too." }),
        values: z
          .array(LabelValue)
          .max(mostValues)
          .optional()
          .meta({ description: "At least one with `In` and `NotIn`, none with `Exists` and `DoesNotExist`." }),
      })
      .meta({ description: "What is asked of one label." }),
    {
      name: "values-with-operator",
      api: {
        by: "cel",
        rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
        message: "`In` and `NotIn` need `values`, `Exists` and `DoesNotExist` take none",
      },
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

const labels = (most: number) =>
  checked(
    z.record(LabelKey, LabelValue).meta({
      maxProperties: most,
      description: "Labels and the values they must have; all of them.",
    }),
    {
      name: "label-keys",
      api: {
        by: "cel",
        rule: `self.all(key, size(key) <= 317 && key.matches('${LABEL_KEY.source.replaceAll("\\", "\\\\")}'))`,
        message: "no label key: use `name` or `prefix/name`",
      },
      // The keys are part of the structure here.
      find: () => null,
    },
    {
      name: "few-labels",
      api: { by: "schema" },
      find(labels) {
        const count = Object.keys(labels).length;
        return count <= most ? null : at(`\`matchLabels\` has ${count} labels: use at most ${most}`);
      },
    },
  );

/** Kubernetes LabelSelector; an empty one selects everything. `most`: labels, and values of each. */
export function selectorOf(most: number, mostExpressions: number) {
  return z.object({
    matchLabels: labels(most).optional(),
    matchExpressions: z
      .array(requirement(most))
      .max(mostExpressions)
      .optional()
      .meta({ description: "Requirements on labels; all of them, and `matchLabels` too." }),
  });
}

export const Selector = selectorOf(MOST_LABELS, MOST_EXPRESSIONS);

const serviceAccounts = listOf(ObjectName, 64, "`serviceAccounts` is empty: leave it out to mean every service account")
  .optional()
  .meta({ description: "Names of service accounts: the pod runs as one of them. Left out: as any." });

const podSelector = Selector.optional().meta({
  description: "Labels of the pod. Left out or empty: every pod.",
});

export const ClusterSubject = z
  .object({
    namespaceSelector: Selector.optional().meta({
      description:
        "Labels of the pod's namespace; `kubernetes.io/metadata.name` is its name. Left out or empty: every namespace.",
    }),
    podSelector,
    serviceAccounts,
  })
  .meta({
    description:
      "Whom the policy selects; the fields are ANDed. Empty: every pod outside the system namespaces (AgentConfig).",
  });

export const NamespaceSubject = z.object({ podSelector, serviceAccounts }).meta({
  description: "Whom the policy selects in its own namespace; the fields are ANDed. Empty: every pod of the namespace.",
});

export type SelectorText = z.output<typeof Selector>;
export type SubjectText = z.output<typeof ClusterSubject>;
