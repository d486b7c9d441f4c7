import { existsSync } from "node:fs";
import { missingRequirement as missingForLab } from "../../src/lab/requirements.ts";
import { CNI_PLUGINS } from "./node-config.ts";

/** Files the cluster needs besides the lab's, and the Debian package each comes from. */
const FILES: readonly (readonly [path: string, debianPackage: string])[] = [
  [`${CNI_PLUGINS}/ptp`, "containernetworking-plugins"],
  ["/bin/busybox", "busybox-static"],
  ["/usr/include/seccomp.h", "libseccomp-dev"],
  ["/usr/bin/gcc", "gcc"],
];

/** Says in one line what this host lacks to run a cluster, or null; of Go the build says it (builds.ts). */
export async function missingRequirement(): Promise<string | null> {
  const forLab = await missingForLab();
  if (forLab !== null) return forLab;
  const absent = FILES.filter(([file]) => !existsSync(file));
  if (absent.length > 0) {
    const packages = absent.map(([, name]) => name).join(" ");
    return `\`${absent[0]?.[0]}\` is missing: \`apt-get install --no-install-recommends ${packages}\``;
  }
  if (existsSync("/sys/fs/cgroup/cgroup.controllers")) {
    return "this host has control groups of version 2 only, which the test cluster does not know yet";
  }
  return null;
}
