import { stringify } from "yaml";
import type * as z from "zod";
import { ClusterAgentConfigSpec } from "./config-schema.ts";
import { API_VERSION, KINDS } from "./schema.ts";
import { NodeStatus, ObjectStatus, PolicyStatus } from "./status-schema.ts";
import { type OpenApi, toStructural } from "./structural.ts";

const [GROUP, VERSION] = API_VERSION.split("/") as [string, string];

interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly path: string;
  readonly description: string;
  /** Shown with `-o wide` only. */
  readonly wide?: true;
}

interface CustomResource {
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: "Cluster" | "Namespaced";
  readonly description: string;
  readonly spec: { readonly schema: z.core.$ZodType; readonly description: string } | null;
  readonly status: z.core.$ZodType;
  readonly columns: readonly Column[];
}

const column = (name: string, type: Column["type"], path: string, description: string): Column => ({
  name,
  type,
  path,
  description,
});
const condition = (type: string, field: "status" | "message" | "reason", name: string, description: string): Column =>
  column(name, "string", `.status.conditions[?(@.type=="${type}")].${field}`, description);

const ACCEPTED = condition("Accepted", "status", "Accepted", "Whether the document can be used.");
const PROGRAMMED = condition("Programmed", "message", "Programmed", "How many of the nodes it concerns enforce it.");
const REASON: Column = {
  ...condition("Programmed", "reason", "Reason", "Why it is enforced, or not."),
  wide: true,
};
const AGE = column("Age", "date", ".metadata.creationTimestamp", "When it was created.");
const PRIORITY = column("Priority", "integer", ".spec.priority", "Order inside the tier, lower first.");
const MODE = column("Mode", "string", ".spec.mode", "Enforced, or decided and logged only.");
const DEFAULT_DENY: Column = {
  ...column("Default-Deny", "boolean", ".spec.defaultDeny", "Whether it isolates the pods it selects."),
  wide: true,
};
const PODS = column("Pods", "integer", ".status.selectedPods", "Pods that it selects.");

const POLICY_SPEC = "Whom the policy selects, and where they may connect.";

/** What an API server is told of: the four kinds, and what agents say of their nodes. */
export const CUSTOM_RESOURCES: readonly CustomResource[] = [
  {
    kind: "ClusterEgressPolicy",
    plural: "clusteregresspolicies",
    shortNames: ["ceg"],
    scope: "Cluster",
    description:
      "Ordered rules for outbound traffic of pods anywhere in the cluster, before (`tier: Admin`) or after (`tier: Baseline`) the policies of the namespaces. Policies are walked by tier, then priority, then name; the first rule that matches decides.",
    spec: { schema: KINDS.ClusterEgressPolicy.shape.spec, description: POLICY_SPEC },
    status: PolicyStatus,
    columns: [
      column("Tier", "string", ".spec.tier", "Before or after the policies of the namespaces."),
      PRIORITY,
      MODE,
      DEFAULT_DENY,
      PODS,
      ACCEPTED,
      PROGRAMMED,
      REASON,
      AGE,
    ],
  },
  {
    kind: "EgressPolicy",
    plural: "egresspolicies",
    shortNames: ["eg"],
    scope: "Namespaced",
    description:
      "Ordered rules for outbound traffic of the pods of one namespace, walked between the tiers Admin and Baseline of ClusterEgressPolicy. The first rule that matches decides.",
    spec: { schema: KINDS.EgressPolicy.shape.spec, description: POLICY_SPEC },
    status: PolicyStatus,
    columns: [PRIORITY, MODE, DEFAULT_DENY, PODS, ACCEPTED, PROGRAMMED, REASON, AGE],
  },
  {
    kind: "DestinationGroup",
    plural: "destinationgroups",
    shortNames: ["dg"],
    scope: "Cluster",
    description: "Domains and address ranges under one name, which rules of any policy can use as `group`.",
    spec: { schema: KINDS.DestinationGroup.shape.spec, description: "What belongs to the group." },
    status: ObjectStatus,
    columns: [ACCEPTED, PROGRAMMED, REASON, AGE],
  },
  {
    kind: "AgentConfig",
    plural: "agentconfigs",
    shortNames: ["agc"],
    scope: "Cluster",
    description:
      "What agents are told of the cluster: resolvers, ranges, fail mode, limits. The object named `default` is used.",
    spec: { schema: ClusterAgentConfigSpec, description: "The settings; what is left out has its default." },
    status: ObjectStatus,
    columns: [
      column("Fail-Mode", "string", ".spec.failMode", "What new flows meet while an agent gives no verdicts."),
      ACCEPTED,
      PROGRAMMED,
      REASON,
      AGE,
    ],
  },
  {
    kind: "EgressNodeStatus",
    plural: "egressnodestatuses",
    shortNames: ["ens"],
    scope: "Cluster",
    description: "What the agent of one node enforces. Its name is the node's; the agent writes it.",
    spec: null,
    status: NodeStatus,
    columns: [
      column("Ready", "boolean", ".status.ready", "Whether the agent enforces policies on the node."),
      column("Not-Enforced", "integer", ".status.notEnforcedPods", "Pods of the node that policies do not hold."),
      column("Version", "string", ".status.agentVersion", "The version of the agent."),
      column("Observed", "date", ".status.observedAt", "When the agent wrote this."),
      AGE,
    ],
  },
];

/** A CustomResourceDefinition (apiextensions.k8s.io/v1). */
export function customResourceDefinition(resource: CustomResource): OpenApi {
  const { kind, plural, shortNames, scope } = resource;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}`, labels: { "app.kubernetes.io/part-of": "sallyport" } },
    spec: {
      group: GROUP,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames,
        categories: ["sallyport"],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: resource.columns.map(printed),
          schema: { openAPIV3Schema: rootSchema(resource) },
        },
      ],
    },
  };
}

function printed({ name, type, path, description, wide }: Column): OpenApi {
  return { name, type, jsonPath: path, description, ...(wide ? { priority: 1 } : {}) };
}

function rootSchema({ spec, status, description }: CustomResource): OpenApi {
  return {
    type: "object",
    description,
    ...(spec === null ? {} : { required: ["spec"] }),
    properties: {
      apiVersion: { type: "string", description: `The version of this schema: \`${API_VERSION}\`.` },
      kind: { type: "string", description: "What kind of object this is." },
      metadata: { type: "object" },
      ...(spec === null ? {} : { spec: { description: spec.description, ...toStructural(spec.schema) } }),
      status: { description: "What is known of it; not written by people.", ...toStructural(status) },
    },
  };
}

/** File name and text of each definition, as they stand in `deploy/crds`. */
export function customResourceFiles(): ReadonlyMap<string, string> {
  return new Map(
    CUSTOM_RESOURCES.map((resource) => [
      `${GROUP}_${resource.plural}.yaml`,
      `# Made from src/policy by \`make crds\`.\n${stringify(customResourceDefinition(resource), {
        aliasDuplicateObjects: false,
        lineWidth: 0,
      })}`,
    ]),
  );
}
