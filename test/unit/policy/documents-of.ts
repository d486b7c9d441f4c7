import { loadDocuments } from "../../../src/policy/documents.ts";
import { formatProblem } from "../../../src/policy/problem.ts";

/** Messages of one text, with `line:column: ` in front. */
export function problemsOf(text: string): string[] {
  return loadDocuments([{ path: "f", text }]).problems.map((problem) => formatProblem(problem).slice(2));
}

/** A policy around `spec` (lines indented by two), whose first line is line 5. */
export function clusterPolicy(spec: string): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: test }
spec:
${spec}`;
}

/** A policy with one Allow rule, whose entry of `to` stands in line 10, from column 11. */
export function withDestination(entry: string, action = "Allow"): string {
  return clusterPolicy(`  tier: Admin
  defaultDeny: true
  rules:
    - { name: one, action: ${action}, to: [
          ${entry}
      ] }
`);
}
