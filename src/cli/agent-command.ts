import { resolve } from "node:path";
import { DEFAULT_LISTEN } from "../agent/metrics/listen-address.ts";
import type { KubeOptions } from "../agent/options.ts";
import { clusterAccess, sallyportNamespace } from "./cluster-option.ts";
import { EXIT, UsageError } from "./failure.ts";
import { listenAddresses } from "./listen-option.ts";
import { packageVersion } from "./version.ts";

interface Options {
  readonly kube?: boolean;
  readonly kubeconfig?: string;
  readonly nodeName?: string;
  readonly nri?: string;
  readonly policies?: readonly string[];
  readonly workloads?: string;
  readonly config?: string;
  readonly flows?: string;
  readonly flowsMaxSize: number;
  readonly flowsKeep: number;
  readonly state?: string;
  readonly bootRules?: string;
  /** Milliseconds. */
  readonly linger: number;
  readonly logLevel: string;
  readonly listen?: readonly string[];
  readonly controlGroups: string;
  readonly staticPods?: boolean;
  readonly prepareHostNetwork?: boolean;
  readonly check?: boolean;
  readonly remove?: boolean;
  readonly supervise: boolean;
  /** Process id, of a child that `superviseAgent` started. */
  readonly supervisedBy?: string;
}

/** Reads the command line into AgentOptions; the agent reads neither arguments nor environment. */
export async function agentCommand(options: Options): Promise<void> {
  const { policies = [], workloads = "", flows = null } = options;
  const config = options.config === undefined ? null : resolve(options.config);
  const state = options.state === undefined ? null : resolve(options.state);
  const bootRules = options.bootRules === undefined ? null : resolve(options.bootRules);
  if (options.check === true) {
    const { checkKernel } = await import("../agent/main.ts");
    process.exitCode = (await checkKernel()) ? EXIT.ok : EXIT.failed;
    return;
  }
  const controlGroups = options.controlGroups === "off" ? null : resolve(options.controlGroups);
  if (options.prepareHostNetwork === true) {
    const { prepareHostNetwork } = await import("../agent/main.ts");
    return prepareHostNetwork(controlGroups);
  }
  if (options.remove === true) {
    const { removeEnforcement } = await import("../agent/main.ts");
    return removeEnforcement({ state, bootRules });
  }
  checkInputs(options);
  const listen = listenAddresses(options.listen, DEFAULT_LISTEN);
  if (options.supervise && options.supervisedBy === undefined) {
    process.exitCode = await superviseAgent(options.logLevel);
    return;
  }
  const { runAgent } = await import("../agent/main.ts");
  await runAgent({
    kube: options.kube === true ? await kubeOptions(options) : null,
    policies: policies.map((path) => resolve(path)),
    workloads: workloads === "" ? "" : resolve(workloads),
    config,
    flows: flows === null || flows === "-" ? flows : resolve(flows),
    flowsMaxSize: options.flowsMaxSize,
    flowsKeep: options.flowsKeep,
    state,
    bootRules,
    controlGroups,
    staticPods: options.staticPods === true,
    linger: options.linger,
    logLevel: options.logLevel,
    listen,
    version: packageVersion(),
    supervisor: options.supervisedBy === undefined ? null : Number(options.supervisedBy),
  });
}

/** @throws UsageError where it is not clear where policies and workloads come from */
function checkInputs({ kube, kubeconfig, nodeName, nri, policies, workloads, config }: Options): void {
  const files = { policies, workloads, config };
  if (kube === true) {
    for (const [name, value] of Object.entries(files)) {
      if (value !== undefined) throw new UsageError(`\`--${name}\` and \`--kube\` exclude each other: leave one out`);
    }
    return;
  }
  if (kubeconfig !== undefined) throw new UsageError("`--kubeconfig` goes with `--kube`: add it");
  if (nodeName !== undefined) throw new UsageError("`--node-name` goes with `--kube`: add it");
  if (nri !== undefined) throw new UsageError("`--nri` goes with `--kube`: add it");
  const why = "(or `--kube`); see `sallyport agent --help`";
  if (policies === undefined) throw new UsageError(`\`agent\` needs \`--policies PATH\` ${why}`);
  if (workloads === undefined) throw new UsageError(`\`agent\` needs \`--workloads FILE\` ${why}`);
}

/** @throws UsageError */
async function kubeOptions({ kubeconfig, nodeName, nri }: Options): Promise<KubeOptions> {
  const node = nodeName ?? process.env["NODE_NAME"] ?? "";
  // A name with a comma would be a selector of its own.
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(node)) {
    throw new UsageError(
      "`agent --kube` needs `--node-name NAME` (or NODE_NAME in its environment): the name of its Node",
    );
  }
  const access = await clusterAccess(kubeconfig);
  return { access, node, namespace: await sallyportNamespace(), nri: nri === undefined ? null : resolve(nri) };
}

/**
 * However it is started: a young generation of 12 MiB, for more room makes it no faster. Other options of V8 make it refuse what Node has
 * compiled ahead, 60 ms of a start: the agent sets them later (agent/memory-keeper.ts).
 */
const AGENT_FLAGS = ["--max-semi-space-size=4"];

/** The same command line once more, as a child that knows who watches it. */
async function superviseAgent(logLevel: string): Promise<number> {
  const { Supervisor } = await import("../agent/supervisor.ts");
  const [script = "", ...words] = process.argv.slice(1);
  const flags = [...process.execArgv, ...AGENT_FLAGS];
  // Two arenas of malloc for all threads.
  process.env["MALLOC_ARENA_MAX"] ??= "2";
  const command = [process.execPath, ...flags, script, ...words, "--supervised-by", String(process.pid)];
  return new Supervisor(command, logLevel).run();
}
