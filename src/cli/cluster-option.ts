import { resolve } from "node:path";
import type { ClusterAccess } from "../kube/access.ts";
import { UsageError } from "./failure.ts";

/** Where the chart puts Sallyport. */
export const SALLYPORT_NAMESPACE = "sallyport";

/** What `--kubeconfig` names, else what the pod has. Loaded when it is asked for: most commands talk to no API server. @throws UsageError */
export async function clusterAccess(kubeconfig: string | undefined): Promise<ClusterAccess> {
  try {
    if (kubeconfig !== undefined) return (await import("../kube/kubeconfig.ts")).kubeconfigAccess(resolve(kubeconfig));
    return (await import("../kube/access.ts")).inClusterAccess(process.env);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Sallyport's own. */
export async function sallyportNamespace(): Promise<string> {
  return (await import("../kube/access.ts")).ownNamespace() ?? SALLYPORT_NAMESPACE;
}
