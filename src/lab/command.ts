import { spawn } from "node:child_process";
import { constants } from "node:os";
import { type Command, Option } from "commander";
import { stringify } from "yaml";
import { createLab, type Lab, openLab } from "./lab.ts";
import { checkLabName } from "./names.ts";
import { inNetns } from "./process.ts";
import { scenario } from "./scenario.ts";
import { listLabs } from "./state.ts";
import { removeLab } from "./teardown.ts";

const DEFAULT_NAME = "demo";

/**
 * Adds `lab up|down|exec|status` to a program. Actions reject with an Error whose message is one line for the user;
 * `exec` sets `process.exitCode` to the command's own status.
 */
export function registerLabCommands(program: Command): void {
  const lab = program.command("lab").description("a small cluster of network namespaces to try things in");
  // A command's own options must not be read as ours: both levels above have to agree to that.
  lab.enablePositionalOptions();
  program.enablePositionalOptions();
  lab
    .command("up")
    .description("bring a lab up")
    .option("--name <name>", "name of the lab", DEFAULT_NAME)
    .option("--nodes <count>", "how many nodes", "2")
    .option("--scenario <scenario>", "which pods", "two-apps")
    .action(up);
  lab
    .command("down")
    .description("take a lab down, also one that was left behind by a crash")
    .option("--name <name>", "name of the lab", DEFAULT_NAME)
    .option("--all", "every lab of this machine")
    .action(down);
  lab
    .command("exec")
    .description("run a command in a pod (NAMESPACE/POD), on a node (node1) or outside (outside)")
    .option("--name <name>", "name of the lab", DEFAULT_NAME)
    .argument("<target>", "NAMESPACE/POD, node1, node2 ... or outside")
    .argument("<command...>", "the command and its arguments, after --")
    .passThroughOptions()
    .action(exec);
  lab
    .command("status")
    .description("show the labs that are up, their nodes and pods")
    .option("--name <name>", "only this lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices(["table", "json", "yaml"]).default("table"))
    .action(status);
}

async function up(options: { name: string; nodes: string; scenario: string }): Promise<void> {
  if (!/^\d{1,3}$/.test(options.nodes))
    throw new Error(`\`--nodes ${options.nodes}\` is not a number: use 1, 2, 3 ...`);
  const spec = scenario(options.scenario, checkLabName(options.name), Number(options.nodes));
  const started = performance.now();
  // Clearing up is left to the one that builds: two at once would race.
  const stop = new AbortController();
  const interrupted = (signal: NodeJS.Signals) => {
    process.exitCode = 128 + constants.signals[signal];
    stop.abort();
  };
  process.on("SIGINT", interrupted).on("SIGTERM", interrupted);
  try {
    const lab = await createLab(spec, { signal: stop.signal });
    process.exitCode = 0;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`lab \`${lab.name}\` is up after ${seconds} s\n\n${table(lab)}`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.stderr.write(`interrupted: lab \`${spec.name}\` is removed\n`);
  } finally {
    process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted);
  }
}

async function down(options: { name: string; all?: boolean }): Promise<void> {
  requireRoot();
  const names = options.all === true ? await listLabs() : [checkLabName(options.name)];
  if (names.length === 0) process.stdout.write("no lab is up\n");
  for (const name of names) {
    const found = await removeLab(name);
    process.stdout.write(found ? `lab \`${name}\` is down\n` : `lab \`${name}\` was not up\n`);
  }
}

async function exec(target: string, command: readonly string[], options: { name: string }): Promise<void> {
  requireRoot();
  const lab = await openLab(options.name);
  // commander leaves the `--` in place when it passes options through.
  const words = command[0] === "--" ? command.slice(1) : command;
  const [program = "", ...argv] = inNetns(lab.netns(target), words);
  const child = spawn(program, argv, { stdio: "inherit", env: { ...process.env, ...lab.environment } });
  // The terminal sends Ctrl-C to both: the command decides what it means, we only wait for it.
  const ignore = () => {};
  const forward = () => child.kill("SIGTERM");
  process.on("SIGINT", ignore).on("SIGTERM", forward);
  try {
    process.exitCode = await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));
    });
  } finally {
    process.removeListener("SIGINT", ignore).removeListener("SIGTERM", forward);
  }
}

async function status(options: { name?: string; output: string }): Promise<void> {
  const names = options.name === undefined ? await listLabs() : [checkLabName(options.name)];
  const labs: Lab[] = [];
  const broken: string[] = [];
  for (const name of names) {
    const lab = await openLab(name).catch(() => null);
    if (lab === null) broken.push(name);
    else labs.push(lab);
  }
  if (options.output === "table") {
    const left = broken.map(
      (name) => `lab \`${name}\` is not up or only partly: \`sallyport lab down --name ${name}\` clears it\n`,
    );
    process.stdout.write(
      [...labs.map((lab) => `lab ${lab.name}\n${table(lab)}`), ...left].join("\n") || "no lab is up\n",
    );
    return;
  }
  const document = { labs: [...labs.map(summary), ...broken.map((name) => ({ name, state: "Incomplete" }))] };
  process.stdout.write(options.output === "json" ? `${JSON.stringify(document, null, 2)}\n` : stringify(document));
}

function summary(lab: Lab): object {
  return {
    name: lab.name,
    state: "Up",
    directory: lab.directory,
    workloads: lab.workloadsPath,
    nodes: lab.layout.nodes.map(({ name, netns, address, podRange }) => ({ name, netns, address, podRange })),
    pods: lab.layout.pods.map(({ namespace, name, node, netns, address, labels }) => ({
      namespace,
      name,
      node: `node${node}`,
      netns,
      address,
      labels,
    })),
  };
}

function table(lab: Lab): string {
  const nodes = lab.layout.nodes.map(({ name, address }) => [name, "", address.ipv4, address.ipv6, ""]);
  const pods = lab.layout.pods.map((pod) => [
    `${pod.namespace}/${pod.name}`,
    `node${pod.node}`,
    pod.address.ipv4,
    pod.address.ipv6,
    Object.entries(pod.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
  ]);
  const rows = [["TARGET", "NODE", "IPV4", "IPV6", "LABELS"], ...nodes, ...pods];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return `${rows.map((row) => line(row).trimEnd()).join("\n")}\n`;
}

function requireRoot(): void {
  if (process.getuid?.() !== 0) throw new Error("the lab is made of network namespaces: run this as root");
}
