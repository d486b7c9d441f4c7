import * as z from "zod";
import { REASONS } from "../model/decision.ts";

const text = (what: string) => z.string().min(1, { error: `write ${what}` });

const Expectation = z.object({
  action: z.enum(["Allow", "Deny"]),
  policy: z.string().nullable().optional(),
  rule: z.string().nullable().optional(),
  reason: z.enum(REASONS).optional(),
});

const Case = z.object({
  name: z.string().optional(),
  from: z.string().regex(/^[^/\s]+\/[^/\s]+$/, { error: "`from` is no pod: write NAMESPACE/POD" }),
  to: text("a destination, as in `https://api.example.com/`"),
  ip: z.string().optional(),
  expect: Expectation,
});

/** One document of kind EgressTest; `expect: Allow` is written out as `expect: { action: Allow }` before it gets here. */
export const EgressTestDocument = z.object({
  apiVersion: z.literal("sallyport.dev/v1alpha1"),
  kind: z.literal("EgressTest"),
  metadata: z.object({
    name: text("a name"),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.object({
    policies: z
      .array(text("a path"))
      .min(1, { error: "`policies` is empty: name files or folders of policy documents" }),
    workloads: text("the path of a file of pods and namespaces"),
    config: z.string().optional(),
    cases: z.array(Case).min(1, { error: "`cases` is empty: write at least one case" }),
  }),
});
