import { fileURLToPath } from "node:url";
import { must } from "../../src/lab/process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const NAMESPACE = "sallyport";
/** The chart as it is by default, for who has no helm. */
export const MANIFESTS = "deploy/manifests/sallyport.yaml";

const HEAD = `# Sallyport without helm: what deploy/chart/sallyport makes by default. Written by \`make manifests\`.
#   kubectl apply --server-side -f deploy/manifests/sallyport.yaml
# Name your registry first, wherever an image is \`sallyport:VERSION\`.
apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
`;

/** @throws Error with helm's complaint */
export async function renderManifests(helm: string): Promise<string> {
  const chart = `${root}/deploy/chart/sallyport`;
  // What runs at `helm uninstall` is of no use to others.
  const text = await must([helm, "template", "sallyport", chart, "--namespace", NAMESPACE, "--no-hooks"]);
  const documents = text
    .split(/^---\n/m)
    .map((document) => document.replace(/^# Source: .*\n/m, "").trim())
    .filter((document) => document !== "");
  return [HEAD.trimEnd(), ...documents.map(withoutHelm)].join("\n---\n").concat("\n");
}

/** Nobody's release owns these objects. */
function withoutHelm(document: string): string {
  return document
    .replace(/^ *(helm\.sh\/chart|app\.kubernetes\.io\/managed-by): .*\n/gm, "")
    .replace(/^ {2}annotations:\n {4}helm\.sh\/resource-policy: keep\n/gm, "");
}
