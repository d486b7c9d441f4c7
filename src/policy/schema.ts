import * as z from "zod";
import { at, checked, choice, shown } from "./check.ts";
import { AgentConfigSpec } from "./config-schema.ts";
import { Destination, GroupSpec } from "./destination-schema.ts";
import { ClusterSubject, NamespaceSubject } from "./selector-schema.ts";
import { LabelName, ObjectName } from "./values.ts";

export const API_VERSION = "sallyport.dev/v1alpha1";

/** As the API server prints it; what it adds by itself is accepted and not read. */
const objectMeta = {
  name: ObjectName,
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: z.unknown().optional(),
  deletionTimestamp: z.unknown().optional(),
  deletionGracePeriodSeconds: z.unknown().optional(),
  generateName: z.string().optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  selfLink: z.string().optional(),
};
const ClusterMeta = z.object(objectMeta);
const NamespacedMeta = z.object({ ...objectMeta, namespace: LabelName });

const Rule = checked(
  z.object({
    name: LabelName,
    action: z
      .enum(["Allow", "Deny", "Next", "Pass"])
      .meta({ description: "`Next` leaves this policy, `Pass` leaves this tier." }),
    to: z
      .array(Destination)
      .min(1, { error: "`to` is empty: leave `to` out to mean every destination" })
      .optional()
      .meta({ description: "Entries are ORed, the fields of one entry ANDed. Left out: every destination." }),
    whenHidden: z
      .enum(["Deny", "Continue"])
      .optional()
      .meta({ description: "Of a Deny: what a flow that hides its name meets. Default `Deny`." }),
  }),
  {
    name: "when-hidden-on-deny",
    cel: "!has(self.whenHidden) || self.action == 'Deny'",
    find: ({ action, whenHidden }) =>
      whenHidden !== undefined && action !== "Deny"
        ? at(`\`whenHidden\` is for \`Deny\` rules, and this one is \`${action}\`: leave it out`, "whenHidden")
        : null,
  },
  {
    name: "encrypted-client-hello-on-allow",
    cel: "self.action == 'Allow' || !has(self.to) || self.to.all(entry, !has(entry.tls) || entry.tls.encryptedClientHello == 'Allow')",
    find: ({ action, to = [] }) =>
      to.flatMap(({ tls }, index) =>
        action !== "Allow" && tls?.encryptedClientHello === "Deny"
          ? [
              at(
                `\`encryptedClientHello: Deny\` is for \`Allow\` rules, and this one is \`${action}\`: leave it out`,
                "to",
                index,
                "tls",
                "encryptedClientHello",
              ),
            ]
          : [],
      ),
  },
);

const Rules = checked(z.array(Rule), {
  name: "unique-rule-names",
  cel: "self.all(rule, self.exists_one(other, other.name == rule.name))",
  find(rules) {
    const first = new Set<string>();
    return rules.flatMap(({ name }, index) => {
      if (!first.has(name)) {
        first.add(name);
        return [];
      }
      return [at(`a rule named ${shown(name)} stands above: give each rule of a policy its own name`, index, "name")];
    });
  },
});

const common = {
  priority: z.int().min(0).max(1000).default(1000).meta({ description: "Lower first." }),
  mode: z
    .enum(["Enforce", "Audit"])
    .default("Enforce")
    .meta({ description: "`Audit`: decided and logged, not applied." }),
  rules: Rules.default([]),
};

const ClusterPolicySpec = z.object({
  tier: z.enum(["Admin", "Baseline"]),
  ...common,
  defaultDeny: z.boolean().meta({ description: "Whether what no rule allows is denied to the pods selected." }),
  subject: ClusterSubject.default({}),
});

const PolicySpec = z.object({
  ...common,
  defaultDeny: z.boolean().default(true),
  subject: NamespaceSubject.default({}),
});

function kind<K extends string, M extends z.ZodType, S extends z.ZodType>(name: K, metadata: M, spec: S) {
  return z.object({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(name),
    metadata,
    spec,
    status: z.unknown().optional(),
  });
}

/** The four kinds; validation, JSON Schema and CRDs are all made from these. */
export const KINDS = {
  ClusterEgressPolicy: kind("ClusterEgressPolicy", ClusterMeta, ClusterPolicySpec),
  EgressPolicy: kind("EgressPolicy", NamespacedMeta, PolicySpec),
  DestinationGroup: kind("DestinationGroup", ClusterMeta, GroupSpec),
  AgentConfig: kind("AgentConfig", ClusterMeta, AgentConfigSpec),
} as const;

export type Kind = keyof typeof KINDS;
export type KindText<K extends Kind> = z.output<(typeof KINDS)[K]>;
export type RuleText = z.output<typeof Rule>;

export function isKind(name: unknown): name is Kind {
  return typeof name === "string" && Object.hasOwn(KINDS, name);
}

export const KIND_NAMES = Object.keys(KINDS) as Kind[];
export const KIND_CHOICE = choice(KIND_NAMES);
