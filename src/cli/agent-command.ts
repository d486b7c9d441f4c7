import { resolve } from "node:path";
import { EXIT, UsageError } from "./failure.ts";

interface Options {
  readonly policies?: readonly string[];
  readonly workloads?: string;
  readonly config?: string;
  readonly flows?: string;
  readonly flowsMaxSize: number;
  readonly flowsKeep: number;
  readonly logLevel: string;
  readonly check?: boolean;
  readonly remove?: boolean;
}

/** Reads the command line into AgentOptions; the agent reads neither arguments nor environment. */
export async function agentCommand(options: Options): Promise<void> {
  const agent = await import("../agent/main.ts");
  if (options.check === true) {
    process.exitCode = (await agent.checkKernel()) ? EXIT.ok : EXIT.failed;
    return;
  }
  const config = options.config === undefined ? null : resolve(options.config);
  if (options.remove === true) {
    await agent.removeEnforcement({ config });
    return;
  }
  if (options.policies === undefined)
    throw new UsageError("`agent` needs `--policies PATH`; see `sallyport agent --help`");
  if (options.workloads === undefined)
    throw new UsageError("`agent` needs `--workloads FILE`; see `sallyport agent --help`");
  await agent.runAgent({
    policies: options.policies.map((path) => resolve(path)),
    workloads: resolve(options.workloads),
    config,
    flows: options.flows === undefined || options.flows === "-" ? (options.flows ?? null) : resolve(options.flows),
    flowsMaxSize: options.flowsMaxSize,
    flowsKeep: options.flowsKeep,
    logLevel: options.logLevel,
  });
}
