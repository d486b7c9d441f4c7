import * as z from "zod";
import { STANDARD_KINDS } from "../model/policy.ts";
import { KIND_NAMES } from "./schema.ts";
import { LabelName, ObjectName } from "./values.ts";

const Time = (description: string) => z.iso.datetime().meta({ description });
const Count = (description: string) => z.int().min(0).meta({ description });
const MESSAGE = 4096;

/** As `metav1.Condition`. */
const Condition = z
  .object({
    type: z.string().max(316).meta({ description: "What it says something about." }),
    status: z.enum(["True", "False", "Unknown"]).meta({ description: "Whether it holds." }),
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .meta({ description: "The generation of the object it was judged by." }),
    lastTransitionTime: Time("When `status` last changed."),
    reason: z
      .string()
      .min(1)
      .max(1024)
      .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
      .meta({ description: "Why, in one word." }),
    message: z.string().max(MESSAGE).meta({ description: "Why, in words." }),
  })
  .meta({ description: "One thing that is known of the object." });

const conditions = (description: string) =>
  z
    .array(Condition)
    .max(16)
    .meta({ listKeys: ["type"], description })
    .optional();

const observedGeneration = z.int().min(0).optional().meta({
  description: "The generation of the object that this status is about.",
});

const CONDITIONS =
  "`Accepted`: the document can be used. `Programmed`: the nodes it concerns enforce it; the message counts them, as in `12/12 nodes`. `Shadowed`, where it is there: some rules never decide, because of policies that are walked before.";

/** Written by the controller. */
export const PolicyStatus = z.object({
  observedGeneration,
  selectedPods: Count("Pods that the policy selects, in the whole cluster.").optional(),
  conditions: conditions(CONDITIONS),
});

/** Written by the controller. */
export const ObjectStatus = z.object({ observedGeneration, conditions: conditions(CONDITIONS) });

const MOST_POLICIES = 2000;
const MOST_PODS = 256;

const NodePolicy = z
  .object({
    kind: z.enum([...KIND_NAMES, ...STANDARD_KINDS]).meta({ description: "Its kind." }),
    namespace: LabelName.optional().meta({ description: "Its namespace, if it has one." }),
    name: ObjectName.meta({ description: "Its name." }),
    uid: z.string().max(64).meta({ description: "Its uid." }),
    generation: z.int().min(0).meta({ description: "The generation that the agent has read." }),
    programmed: z.boolean().meta({ description: "Whether the node enforces it as it is written." }),
    reason: z.string().max(64).optional().meta({
      description:
        "Why not, in one word: `UnknownField`, `Invalid`, `NotSupported`. `PartiallyEnforced`: it is, as far as it leads outside.",
    }),
    message: z.string().max(1024).optional().meta({ description: "Why not, in words." }),
    selectedPods: Count("Pods of the node that it selects.").optional(),
  })
  .meta({ description: "What the node makes of one object." });

const NotEnforced = z
  .object({
    namespace: LabelName.meta({ description: "The pod's namespace." }),
    pod: ObjectName.meta({ description: "The pod's name." }),
    reason: z.string().max(64).meta({ description: "Why, in one word." }),
    message: z.string().max(1024).optional().meta({ description: "Why, in words." }),
  })
  .meta({ description: "A pod that policies do not hold." });

const Bypass = z
  .object({
    id: z.string().max(16).meta({ description: "What `sallyport bypass --end` calls it." }),
    scope: z.enum(["Namespace", "Node", "All"]).meta({
      description: "Whom it covers: pods of a namespace, all pods of the node, or everything, uninspected.",
    }),
    namespace: LabelName.optional().meta({ description: "The namespace, where it is of one." }),
    reason: z.string().max(256).meta({ description: "Why, as it was said." }),
    by: z.string().max(256).meta({ description: "Who asked for it, as far as the node knows." }),
    since: Time("When it was asked for."),
    until: Time("When it ends by itself."),
  })
  .meta({ description: "Enforcement that is set aside for a while." });

const MOST_DENIALS = 64;

const Denial = z
  .object({
    namespace: LabelName.meta({ description: "The pod's namespace." }),
    pod: ObjectName.meta({ description: "The pod's name." }),
    podUid: z.string().max(64).meta({ description: "The pod's uid." }),
    policy: z
      .string()
      .max(600)
      .optional()
      .meta({ description: "The policy that decided, as `Kind/namespace/name`; none where no rule did." }),
    rule: z.string().max(128).optional().meta({ description: "Its rule." }),
    reason: z.string().max(64).meta({ description: "Why, in one word: `DefaultDeny`, `RuleMatched`." }),
    destination: z
      .string()
      .max(300)
      .meta({ description: "Where to: `TCP api.example.com:443`, `DNS api.example.com`, `ICMP 192.0.2.1`." }),
    count: z.int().min(1).meta({ description: "How often." }),
    firstSeen: Time("When first."),
    lastSeen: Time("When last."),
  })
  .meta({ description: "What a pod was denied." });

/** Written by the agent of the node. */
export const NodeStatus = z.object({
  agentVersion: z.string().max(64).optional().meta({ description: "The version of the agent." }),
  observedAt: Time("When the agent wrote this.").optional(),
  ready: z.boolean().optional().meta({ description: "Whether the agent enforces policies on the node." }),
  bootID: z.string().max(64).optional().meta({
    description: "The boot of the machine in which the agent enforces: that of the Node's `status.nodeInfo.bootID`.",
  }),
  bypass: z.array(Bypass).max(64).optional().meta({
    description: "Where enforcement is set aside for a while on the node (`sallyport bypass`).",
  }),
  conditions: conditions("What is known of the agent."),
  policies: z.array(NodePolicy).max(MOST_POLICIES).optional().meta({
    description:
      "Objects that concern a pod of the node, and those that cannot be enforced as they are written; the latter come first.",
  }),
  policiesLeftOut: Count("Objects for which there was no room in `policies`.").optional(),
  notEnforced: z.array(NotEnforced).max(MOST_PODS).optional().meta({
    description: "Pods of the node that policies do not hold, and why.",
  }),
  notEnforcedLeftOut: Count("Pods for which there was no room in `notEnforced`.").optional(),
  notEnforcedPods: Count("All pods of the node that policies do not hold.").optional(),
  denials: z.array(Denial).max(MOST_DENIALS).optional().meta({
    description: "What pods of the node were denied lately: the latest of each pod first.",
  }),
  denialsLeftOut: Count("Denials of these pods for which there was no room in `denials`.").optional(),
});

export type NodeStatusText = z.input<typeof NodeStatus>;
export type PolicyStatusText = z.input<typeof PolicyStatus>;
export type ConditionText = z.input<typeof Condition>;
