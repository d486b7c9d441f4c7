import * as z from "zod";
import { at, checked, choice, shown } from "./check.ts";
import { AgentConfigSpec } from "./config-schema.ts";
import { Destination, GroupSpec } from "./destination-schema.ts";
import { REGEXES_NOT_TOO_HEAVY } from "./regexes-check.ts";
import { ClusterSubject, NamespaceSubject } from "./selector-schema.ts";
import { LabelName, ObjectName } from "./values.ts";

export const API_VERSION = "sallyport.dev/v1alpha1";

/** As the API server prints it; what it adds by itself is accepted and not read. */
export const objectMeta = {
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

const MOST_RULES = 128;
const MOST_DESTINATIONS = 16;

const Rule = checked(
  z
    .object({
      name: LabelName.meta({ description: "Unique in its policy; stands in decisions and flow records." }),
      action: z.enum(["Allow", "Deny", "Next", "Pass"]).meta({
        description:
          "`Allow` and `Deny` end the walk. `Next` leaves this policy for the next one, `Pass` leaves this tier for the next one.",
      }),
      to: z
        .array(Destination)
        .min(1, { error: "`to` is empty: leave `to` out to mean every destination" })
        .max(MOST_DESTINATIONS)
        .optional()
        .meta({
          description:
            "Destinations. Entries are ORed, the fields of one entry are ANDed. Left out: every destination.",
        }),
      whenHidden: z.enum(["Deny", "Continue"]).optional().meta({
        description:
          "Of a Deny by name: what a flow meets that could tell its name and hides it. Default `Deny`; `Continue` goes on with the next rule.",
      }),
    })
    .meta({ description: "What is done with flows to some destinations." }),
  {
    name: "when-hidden-on-deny",
    api: {
      by: "cel",
      rule: "!has(self.whenHidden) || self.action == 'Deny'",
      message: "`whenHidden` is for `Deny` rules: leave it out",
    },
    find: ({ action, whenHidden }) =>
      whenHidden !== undefined && action !== "Deny"
        ? at(`\`whenHidden\` is for \`Deny\` rules, and this one is \`${action}\`: leave it out`, "whenHidden")
        : null,
  },
  {
    name: "encrypted-client-hello-on-allow",
    api: {
      by: "cel",
      rule: "self.action == 'Allow' || !has(self.to) || self.to.all(entry, !has(entry.tls) || entry.tls.encryptedClientHello == 'Allow')",
      message: "`encryptedClientHello: Deny` is for `Allow` rules: leave it out",
    },
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

const Rules = checked(z.array(Rule).max(MOST_RULES), REGEXES_NOT_TOO_HEAVY, {
  name: "unique-rule-names",
  api: {
    by: "cel",
    rule: "self.all(rule, self.exists_one(other, other.name == rule.name))",
    message: "two rules have one name: give each rule of a policy its own",
  },
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
  priority: z.int().min(0).max(1000).default(1000).meta({ description: "Order inside the tier: lower first." }),
  mode: z
    .enum(["Enforce", "Audit"])
    .default("Enforce")
    .meta({ description: "`Audit`: decided and logged, not applied." }),
  rules: Rules.default([]).meta({
    description: "Walked from the top down; the first rule that matches decides.",
  }),
};

const DEFAULT_DENY =
  "Whether the pods selected are isolated: what no rule of any policy matches is denied to them. `false` makes a guardrail that isolates nobody.";

const ClusterPolicySpec = z.object({
  tier: z.enum(["Admin", "Baseline"]).meta({
    description: "`Admin` is walked before every EgressPolicy, `Baseline` after.",
  }),
  ...common,
  defaultDeny: z.boolean().meta({ description: DEFAULT_DENY }),
  subject: ClusterSubject.default({}),
});

const PolicySpec = z.object({
  ...common,
  defaultDeny: z.boolean().default(true).meta({ description: DEFAULT_DENY }),
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
