import { builtPrograms } from "../cluster/builds.ts";

/** Whether a test can have a real API server at once; says so if not. */
export function apiServerBuilt(): boolean {
  const built = builtPrograms(["etcd", "kubernetes"]) !== null;
  if (!built) console.warn("skipped: no API server is built here; `make test-cluster` builds one");
  return built;
}
