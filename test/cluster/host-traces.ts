import { readdir, readFile } from "node:fs/promises";
import { must } from "../../src/lab/process.ts";

/** What a cluster could leave on its host, by kind; other clusters and labs do not count. */
export interface HostTraces {
  readonly mounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly links: readonly string[];
  readonly rules: string;
  readonly controlGroups: readonly string[];
  readonly settings: readonly string[];
  readonly files: readonly string[];
}

/** Settings of the whole computer that kubelet or kube-proxy would change. */
const SETTINGS = [
  ...["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"],
  ...["net/netfilter/nf_conntrack_max", "net/ipv4/ip_forward"],
];
/** Folders that Kubernetes and container runtimes write to on a host of their own. */
const FOLDERS = [
  "/etc/cni",
  "/var/lib/kubelet",
  "/var/lib/containerd",
  "/var/lib/cni",
  "/var/log/pods",
  "/run/containerd",
];

export async function hostTraces(cluster: string): Promise<HostTraces> {
  const own = (line: string) => line.includes(`-${cluster}`) || line.includes(`/${cluster}/`);
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").filter(own);
  const namespaces = (await readdir("/run/netns").catch(() => [])).filter(own);
  const links = (await must(["ip", "-br", "link"])).split("\n").map((line) => line.split(/\s/)[0] ?? "");
  const groups = (await must(["find", "/sys/fs/cgroup", "-type", "d", "-name", `sallyport-${cluster}`])).split("\n");
  const settings = await Promise.all(
    SETTINGS.map(async (name) => `${name}=${(await readFile(`/proc/sys/${name}`, "utf8").catch(() => "")).trim()}`),
  );
  const files = await Promise.all(
    FOLDERS.map(async (path) => ((await readdir(path).catch(() => null)) === null ? "" : path)),
  );
  return {
    mounts,
    namespaces,
    links: links.filter((name) => name !== ""),
    rules: await must(["nft", "list", "ruleset"]),
    controlGroups: groups.filter((path) => path !== ""),
    settings,
    files: files.filter((path) => path !== ""),
  };
}
