import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { inNetworkOnly } from "../../src/lab/process.ts";
import { type Component, isRunning, pause, startComponent, startTicks, statFields } from "./components.ts";
import { inGroups } from "./control-groups.ts";

/**
 * A computer within the computer: namespaces for network, mounts, processes, host name, IPC and control groups around one first
 * process. When that ends the kernel ends every other process of it, and all its mounts go.
 */
export interface Machine {
  /** Name of its network namespace, which is made before it. */
  readonly netns: string;
  /** The first process, as the host numbers it. */
  readonly init: number;
  /** One folder in every control group hierarchy of the host. */
  readonly controlGroups: readonly string[];
}

export interface MachineOptions {
  readonly directory: string;
  readonly netns: string;
  readonly hostname: string;
  /** Folder of programs that it sees at the same path. */
  readonly programs: string;
  /** Made before it (control-groups.ts). */
  readonly controlGroups: readonly string[];
}

const SCRIPT = fileURLToPath(new URL("./machine.sh", import.meta.url));
const UP_MS = 10_000;

/** @throws Error one line for the user */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { directory, netns, hostname, programs, controlGroups } = options;
  const unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"];
  // Holds the process namespace: ends with the first process, and the first process with it.
  const holder = await startComponent({
    name: "machine",
    argv: inGroups(controlGroups, inNetworkOnly(netns, [...unshare, SCRIPT, directory, hostname, programs])),
    log: `${directory}/machine.log`,
  });
  const began = performance.now();
  while ((await readFile(`${directory}/ready`, "utf8").catch(() => "")) === "") {
    if (!(await isRunning(holder)) || performance.now() - began > UP_MS) {
      throw new Error(`the machine does not start: ${(await readFile(holder.log, "utf8")).trim().split("\n").at(-1)}`);
    }
    await pause(20);
  }
  const init = (await childrenOf(holder.pid))[0];
  if (init === undefined) throw new Error("the machine has no first process");
  return { netns, init, controlGroups };
}

/** The command line that runs `argv` on the machine, as its own init would. */
export function onMachine(machine: Machine, argv: readonly string[]): string[] {
  const enter = [
    "nsenter",
    "--target",
    String(machine.init),
    "--mount",
    "--uts",
    "--ipc",
    "--net",
    "--pid",
    "--cgroup",
  ];
  return inGroups(machine.controlGroups, [...enter, "--wd=/", ...argv]);
}

/** Starts a server on the machine. What is returned is the server itself, not the program that brought it in. */
export async function startOnMachine(
  machine: Machine,
  options: { readonly name: string; readonly argv: readonly string[]; readonly log: string },
): Promise<Component> {
  const door = await startComponent({ ...options, argv: onMachine(machine, options.argv) });
  const began = performance.now();
  for (;;) {
    const [pid] = await childrenOf(door.pid);
    if (pid !== undefined) return { ...door, argv: options.argv, pid, started: (await startTicks(pid)) ?? "" };
    if (!(await isRunning(door)) || performance.now() - began > UP_MS) {
      throw new Error(
        `\`${options.name}\` ended at once: ${(await readFile(options.log, "utf8")).trim().split("\n").at(-1)}`,
      );
    }
    await pause(10);
  }
}

async function childrenOf(parent: number): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(pids.map(async (pid) => (await statFields(pid))[1]));
  return pids.filter((_, at) => parents[at] === String(parent));
}
