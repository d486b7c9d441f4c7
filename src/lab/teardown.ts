import { readdir, readlink, rm, stat } from "node:fs/promises";
import { labOfNetns, NETNS_ETC, NETNS_RUN } from "./names.ts";
import { must } from "./process.ts";
import { labDirectory, netnsNames } from "./state.ts";

/**
 * Removes a lab and every trace of it: processes in its network namespaces (asked first, then killed), the namespaces,
 * their files in `/etc/netns`, its folder. Needs no state: it works after any crash, and twice. Answers whether there
 * was anything.
 */
export async function removeLab(lab: string): Promise<boolean> {
  const directory = labDirectory(lab);
  const netns = (await netnsNames()).filter((name) => labOfNetns(name) === lab);
  const folders = (await readdir(NETNS_ETC).catch(() => [])).filter((name) => labOfNetns(name) === lab);
  const known = await stat(directory).catch(() => null);
  await endProcesses(netns);
  if (netns.length > 0) {
    const input = netns.map((name) => `netns del ${name}\n`).join("");
    await must(["ip", "-force", "-batch", "-"], { input }).catch(async (error: Error) => {
      // Another `down` may have been quicker.
      const left = (await netnsNames()).filter((name) => labOfNetns(name) === lab);
      if (left.length > 0) throw error;
    });
  }
  await Promise.all(folders.map((name) => rm(`${NETNS_ETC}/${name}`, { recursive: true, force: true })));
  await rm(directory, { recursive: true, force: true });
  return netns.length > 0 || known !== null || folders.length > 0;
}

const ASK_MS = 2000;
const KILL_MS = 5000;

/** Ends every process whose network namespace is one of these. Servers fork, so it looks again until none is left. */
export async function endProcesses(netns: readonly string[]): Promise<void> {
  const spaces = new Set<string>();
  for (const name of netns) {
    const found = await stat(`${NETNS_RUN}/${name}`).catch(() => null);
    if (found !== null) spaces.add(`net:[${found.ino}]`);
  }
  const started = performance.now();
  const asked = new Set<number>();
  for (;;) {
    const pids = await processesIn(spaces);
    const elapsed = performance.now() - started;
    if (pids.length === 0) return;
    if (elapsed > KILL_MS) throw new Error(`processes ${pids.join(", ")} of the lab do not end: see what holds them`);
    for (const pid of pids) {
      if (elapsed > ASK_MS) signal(pid, "SIGKILL");
      else if (!asked.has(pid)) signal(pid, "SIGTERM");
      asked.add(pid);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function processesIn(spaces: ReadonlySet<string>): Promise<readonly number[]> {
  const own = await readlink("/proc/self/ns/net");
  if (spaces.has(own)) throw new Error("this shell runs inside the lab: leave its network namespace first");
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => spaces.has(await readlink(`/proc/${pid}/ns/net`).catch(() => ""))),
  );
  return pids.filter((_, at) => found[at]).map(Number);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself in the meantime.
  }
}
