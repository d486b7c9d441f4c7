import { existsSync, readdirSync } from "node:fs";
import { cacheDirectory } from "../cluster/builds.ts";

/** Whether a test can have a real API server at once; says so if not. */
export function apiServerBuilt(): boolean {
  const names = existsSync(cacheDirectory()) ? readdirSync(cacheDirectory()) : [];
  const built = ["etcd-", "kubernetes-"].every((program) => names.some((name) => name.startsWith(program)));
  if (!built) console.warn("skipped: no API server is built here");
  return built;
}
