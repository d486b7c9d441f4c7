import { mkdir, readdir, readFile, rmdir } from "node:fs/promises";
import { must } from "../../src/lab/process.ts";
import { pause, signal } from "./components.ts";

/**
 * Where a cluster's control groups are: below those of this very process, one in each hierarchy of the host, so that whoever bounds or
 * ends this process does so to the cluster too. (Hosts with version 1 hierarchies; version 2 alone needs another way, see the README.)
 */
export async function controlGroupsFor(name: string): Promise<readonly string[]> {
  return (await ownControlGroups()).map((own) => `${own}/${name}`);
}

export async function makeControlGroups(groups: readonly string[]): Promise<void> {
  for (const group of groups) {
    await mkdir(group, { recursive: true });
    if (!group.startsWith("/sys/fs/cgroup/cpuset/")) continue;
    // A cpuset begins empty, and an empty one takes no process.
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      await must(["sh", "-c", 'cat "$1/../$2" >"$1/$2"', "sh", group, file]);
    }
  }
}

async function ownControlGroups(): Promise<readonly string[]> {
  const lines = (await readFile("/proc/self/cgroup", "utf8")).trim().split("\n");
  return lines.map((line) => {
    const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const hierarchy = controllers === "" ? "unified" : controllers.replace(/^name=/, "");
    return `/sys/fs/cgroup/${hierarchy}${path === "/" ? "" : path}`;
  });
}

/** The command line that runs `argv` in these groups. */
export function inGroups(groups: readonly string[], argv: readonly string[]): string[] {
  const join = groups.map((group) => `echo $$ >'${group}/cgroup.procs'`).join("; ");
  return ["sh", "-ec", `${join}; exec "$@"`, "sh", ...argv];
}

const END_MS = 15_000;

/** Ends every process in these groups and below, and removes them. @throws Error when something holds on */
export async function endControlGroups(groups: readonly string[]): Promise<void> {
  const began = performance.now();
  for (;;) {
    const pids = new Set((await Promise.all(groups.map(processesBelow))).flat());
    if (pids.size === 0) break;
    if (performance.now() - began > END_MS)
      throw new Error(`processes ${[...pids].join(", ")} of the cluster do not end`);
    for (const pid of pids) signal(pid, "SIGKILL");
    await pause(50);
  }
  for (const group of groups) await remove(group, began + END_MS);
}

async function processesBelow(group: string): Promise<readonly number[]> {
  const text = await readFile(`${group}/cgroup.procs`, "utf8").catch(() => "");
  const own = text
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
  const below = await Promise.all((await foldersOf(group)).map(processesBelow));
  return [...own, ...below.flat()];
}

/** Deepest first. The kernel lets go of a group a moment after its last process has ended. */
async function remove(group: string, deadline: number): Promise<void> {
  for (const folder of await foldersOf(group)) await remove(folder, deadline);
  for (;;) {
    const error = await rmdir(group).then(
      () => null,
      (error: NodeJS.ErrnoException) => error,
    );
    if (error === null || error.code === "ENOENT") return;
    if (error.code !== "EBUSY" || performance.now() > deadline) throw error;
    await pause(50);
  }
}

async function foldersOf(group: string): Promise<readonly string[]> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => `${group}/${entry.name}`);
}
