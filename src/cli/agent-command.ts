import { resolve } from "node:path";
import { DEFAULT_LISTEN, type ListenAddress, parseListen } from "../agent/metrics/listen-address.ts";
import { EXIT, UsageError } from "./failure.ts";
import { packageVersion } from "./version.ts";

interface Options {
  readonly policies?: readonly string[];
  readonly workloads?: string;
  readonly config?: string;
  readonly flows?: string;
  readonly flowsMaxSize: number;
  readonly flowsKeep: number;
  readonly state?: string;
  /** Milliseconds. */
  readonly linger: number;
  readonly logLevel: string;
  readonly listen?: readonly string[];
  readonly check?: boolean;
  readonly remove?: boolean;
  readonly supervise: boolean;
  /** Process id, of a child that `superviseAgent` started. */
  readonly supervisedBy?: string;
}

/** Reads the command line into AgentOptions; the agent reads neither arguments nor environment. */
export async function agentCommand(options: Options): Promise<void> {
  const { policies, workloads, flows = null } = options;
  const config = options.config === undefined ? null : resolve(options.config);
  const state = options.state === undefined ? null : resolve(options.state);
  if (options.check === true) {
    const { checkKernel } = await import("../agent/main.ts");
    process.exitCode = (await checkKernel()) ? EXIT.ok : EXIT.failed;
    return;
  }
  if (options.remove === true) {
    const { removeEnforcement } = await import("../agent/main.ts");
    return removeEnforcement({ state });
  }
  if (policies === undefined) throw new UsageError("`agent` needs `--policies PATH`; see `sallyport agent --help`");
  if (workloads === undefined) throw new UsageError("`agent` needs `--workloads FILE`; see `sallyport agent --help`");
  const listen = listenAddresses(options.listen);
  if (options.supervise && options.supervisedBy === undefined) {
    process.exitCode = await superviseAgent(options.logLevel);
    return;
  }
  const { runAgent } = await import("../agent/main.ts");
  await runAgent({
    policies: policies.map((path) => resolve(path)),
    workloads: resolve(workloads),
    config,
    flows: flows === null || flows === "-" ? flows : resolve(flows),
    flowsMaxSize: options.flowsMaxSize,
    flowsKeep: options.flowsKeep,
    state,
    linger: options.linger,
    logLevel: options.logLevel,
    listen,
    version: packageVersion(),
    supervisor: options.supervisedBy === undefined ? null : Number(options.supervisedBy),
  });
}

/** `off` is nowhere; not given is the usual address. */
function listenAddresses(texts: readonly string[] = [DEFAULT_LISTEN]): ListenAddress[] {
  if (texts.length === 1 && texts[0] === "off") return [];
  return texts.map((text) => {
    const address = parseListen(text);
    if (address === null) {
      throw new UsageError(
        `\`--listen ${text}\`: write ADDRESS:PORT (as in \`${DEFAULT_LISTEN}\` or \`[::1]:9464\`), \`unix:/path\`, or \`off\` alone`,
      );
    }
    return address;
  });
}

/** The same command line once more, as a child that knows who watches it. */
async function superviseAgent(logLevel: string): Promise<number> {
  const { Supervisor } = await import("../agent/supervisor.ts");
  const [script = "", ...words] = process.argv.slice(1);
  const command = [process.execPath, ...process.execArgv, script, ...words, "--supervised-by", String(process.pid)];
  return new Supervisor(command, logLevel).run();
}
