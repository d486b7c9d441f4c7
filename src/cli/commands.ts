import { type Command, InvalidArgumentError, Option } from "commander";
import { help } from "./help-text.ts";
import { FORMATS } from "./output.ts";

/**
 * Every command's name, options and help. What a command does is in a module of its own that is loaded when it runs,
 * so that `explain` never reads what `agent` needs.
 */
export function addCommands(program: Command): void {
  addValidate(program);
  addExplain(program);
  addTest(program);
  addAgent(program);
  addController(program);
  addAnnounceUninstall(program);
  addBypass(program);
  addStatus(program);
  addFlows(program);
  addCompletion(program);
  addVersion(program);
}

function addValidate(program: Command): void {
  program
    .command("validate")
    .description("check policy documents: every problem as `file:line:column: what is wrong and what is right`")
    .argument("<path...>", "files, or folders of .yaml, .yml and .json files")
    .option("--strict", "warnings fail too")
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        ["sallyport validate policies/", "sallyport validate --strict -o json policies/ team-a.yaml"],
        [
          "0  no errors (and with --strict no warnings)",
          "1  the documents have errors",
          "2  wrong usage, or a path cannot be read",
        ],
      ),
    )
    .action(async (paths, options) => (await import("./validate.ts")).validate(paths, options));
}

function addExplain(program: Command): void {
  program
    .command("explain")
    .description("say whether a pod may reach a destination, and why, rule by rule")
    .requiredOption("--policies <path...>", "files or folders of policy documents")
    .requiredOption(
      "--workloads <file>",
      "pods and namespaces, as `kubectl get pods,namespaces -A -o yaml` prints them",
    )
    .requiredOption("--from <ns/pod>", "the pod that asks")
    .requiredOption(
      "--to <url>",
      "https://host/path, http://host:port/path, quic://host, tcp://host:port, udp://host:port, sctp://host:port, icmp://address, dns://name",
    )
    .option("--ip <address>", "the destination address, to which the pod did not resolve the name")
    .option("--config <file>", "the AgentConfig document; else one among the policies, else the defaults")
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        [
          "sallyport explain --policies policies/ --workloads pods.yaml --from app1-ns/app1 --to https://api.github.com/",
          "sallyport explain --policies policies/ --workloads pods.yaml --from app2-ns/app2 --to udp://dns.google:53 -o json",
        ],
        ["0  explained, whatever the decision", "2  wrong usage, unreadable input, or no such pod"],
      ),
    )
    .action(async (options) => (await import("./explain.ts")).explain(options));
}

function addTest(program: Command): void {
  program
    .command("test")
    .description("policies as code: run the cases of EgressTest documents")
    .argument("<dir>", "a folder with EgressTest documents, or one file")
    .option("--junit <file>", "also write the results as JUnit XML")
    .option("--only <text>", "only the cases whose name holds this text")
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        ["sallyport test tests/", "sallyport test tests/ --junit results.xml"],
        ["0  every case came out as expected", "1  a case did not", "2  wrong usage, or documents that cannot be read"],
      ),
    )
    .action(async (dir, options) => (await import("./test-command.ts")).testCommand(dir, options));
}

function addAgent(program: Command): void {
  program
    .command("agent")
    .description("enforce the policies on traffic forwarded through this network namespace")
    .option("--policies <path...>", "files or folders of policy documents")
    .option("--workloads <file>", "pods and namespaces; watched for changes")
    .option("--config <file>", "the AgentConfig document; else one among the policies, else the defaults")
    .option("--kube", "policies, settings, pods and namespaces from an API server instead")
    .option("--kubeconfig <file>", "how to reach the API server; else as the pod that it runs in")
    .option("--node-name <name>", "of the Node that it runs on (default: NODE_NAME of the environment)")
    .option("--nri <socket>", "where the container runtime tells addresses of pods before their containers start")
    .option("--flows <file>", "flow log, one JSON line a decision; `-` is stdout")
    .option(
      "--flows-max-size <size>",
      "rotate the flow log at this size (bytes, or with K, M, G)",
      parseSize,
      64 * 1024 * 1024,
    )
    .option("--flows-keep <count>", "rotated flow logs that are kept", parseCount, 4)
    .option("--state <dir>", "folder of what a restart remembers (default: /run/sallyport/<network namespace>)")
    .option(
      "--boot-rules <file>",
      "keep here the rules that close the pods of this node at its next boot, until an agent runs",
    )
    .option(
      "--control-groups <dir>",
      "where the node's control groups are mounted: version 2 tells pods on the host's network apart; `off`: those are not held",
      "/sys/fs/cgroup",
    )
    .option(
      "--static-pods",
      "believe which static pod an object mirrors, to hold those on the host's network: only where kubelets alone may say it",
    )
    .option(
      "--prepare-host-network",
      "make the rules that tell pods on the host's network apart, for an agent in a control group namespace of its own, and end",
    )
    .option(
      "--linger <seconds>",
      "how long it goes on with its last flows when another agent takes over",
      parseSeconds,
      30_000,
    )
    .addOption(logLevelOption())
    .option(
      "--listen <address>",
      "where /metrics, /healthz, /readyz and /status are answered: ADDRESS:PORT or unix:/path, also several times; or `off` (default: 127.0.0.1:9464)",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option("--no-supervise", "run without the supervisor process that replaces an agent which dies or hangs")
    .addOption(new Option("--supervised-by <pid>", "set by the supervisor").hideHelp())
    .option("--check", "only say whether the kernel has what is needed")
    .option("--remove", "take away everything a former agent left in the kernel and in its state folder, and end")
    .addHelpText(
      "after",
      help(
        [
          "sallyport agent --policies policies/ --workloads pods.yaml --config node1.yaml --flows flows.log",
          "sallyport agent --kube --kubeconfig node1.kubeconfig --node-name node1",
          "sallyport agent --check",
          "sallyport agent --remove",
        ],
        [
          "0  stopped by SIGTERM or SIGINT; --check: all is there; --remove: done",
          "1  --check: something is missing",
          "2  wrong usage, or it could not start",
        ],
        [
          "SIGTERM and SIGINT stop it: open flows go on as configured. SIGHUP reads all files again.",
          'Its log is JSON on stderr; the line with `"event":"ready"` says that enforcement is complete.',
        ],
      ),
    )
    .action(async (options) => (await import("./agent-command.ts")).agentCommand(options));
}

function addController(program: Command): void {
  program
    .command("controller")
    .description(
      "say in the cluster what has become of each policy (the status of policies, groups and AgentConfigs), and validate what is written",
    )
    .option("--kubeconfig <file>", "how to reach the API server (default: as the pod's own service account)")
    .option(
      "--namespace <name>",
      "where the Lease of the replica that leads is kept (default: the pod's own, else sallyport)",
    )
    .option("--identity <name>", "what this replica is called in the Lease (default: the host's name)")
    .addOption(logLevelOption())
    .option(
      "--listen <address>",
      "where /metrics, /healthz and /readyz are answered: ADDRESS:PORT or unix:/path, also several times; or `off` (default: 127.0.0.1:9465)",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option(
      "--webhook <address>",
      "where the API server has documents validated, by HTTPS: ADDRESS:PORT; or `off` (default: off)",
    )
    .option(
      "--certificate-life <time>",
      "how long a certificate of the webhook is good: it is replaced at two thirds",
      "90d",
    )
    .addHelpText(
      "after",
      help(
        ["sallyport controller --kubeconfig ~/.kube/config", "sallyport controller --listen 0.0.0.0:9465"],
        ["0  stopped by SIGTERM or SIGINT", "2  wrong usage, or it could not start"],
        ["Several replicas may run: one leads and writes, the others watch and take over when it ends."],
      ),
    )
    .action(async (options) => (await import("./controller-command.ts")).controllerCommand(options));
}

function addAnnounceUninstall(program: Command): void {
  program
    .command("announce-uninstall")
    .description(
      "tell the agents of a cluster that Sallyport goes: for 15 minutes, those that end take their rules along",
    )
    .option("--kubeconfig <file>", "how to reach the API server (default: as the pod's own service account)")
    .option("--namespace <name>", "Sallyport's own (default: the pod's own, else sallyport)")
    .option("--wait <seconds>", "how long the agents' answers are waited for", parseSeconds, 30_000)
    .addHelpText(
      "after",
      help(
        ["sallyport announce-uninstall --kubeconfig ~/.kube/config"],
        ["0  announced; nodes that have not answered are named", "2  wrong usage, or it cannot be announced"],
        ["`helm uninstall` does this by itself, before it deletes anything."],
      ),
    )
    .action(async (options) => (await import("./announce-uninstall.ts")).announceUninstallCommand(options));
}

function addBypass(program: Command): void {
  program
    .command("bypass")
    .description(
      "set enforcement aside on this node for a while: nothing that policies deny is denied, and all of it is recorded",
    )
    .option("--namespace <name>", "pods of this namespace")
    .option("--node", "every pod of the node")
    .option("--all", "everything: nothing is inspected, nothing is recorded; where Sallyport itself is at fault")
    .option("--for <time>", "how long: 90s, 15m, 2h; at most 24h", parseDuration)
    .option("--reason <text>", "why; stands in the log, the metrics and the node's status")
    .option("--list", "show what is bypassed")
    .option("--end [id]", "end one, or all")
    .option(
      "--state <dir>",
      "the agent's state folder (default: /run/sallyport/<network namespace>, else /run/sallyport)",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        [
          'sallyport bypass --namespace shop --for 15m --reason "INC-4711: payments time out"',
          "sallyport bypass --list",
          "sallyport bypass --end",
        ],
        [
          "0  done",
          "1  in force for no pod: none of the namespace is known here",
          "2  wrong usage, or it cannot be done",
        ],
        [
          "For root, on the node. It needs neither the API server nor an agent, and ends by itself: the kernel keeps the time.",
        ],
      ),
    )
    .action(async (options) => (await import("./bypass.ts")).bypass(options));
}

function addStatus(program: Command): void {
  program
    .command("status")
    .description("ask a running agent how it is: ready or why not, what it enforces, how quick it is, what was lost")
    .option("--agent <address>", "where it listens: http://ADDRESS:PORT or unix:/path", "http://127.0.0.1:9464")
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        ["sallyport status", "sallyport status --agent unix:/run/sallyport.sock -o json"],
        ["0  enforcement is complete", "1  it is not; the first line says why", "2  wrong usage, or no agent answers"],
        ["Run it on the node, in the network namespace of the agent."],
      ),
    )
    .action(async (options) => (await import("./status.ts")).status(options));
}

function addFlows(program: Command): void {
  program
    .command("flows")
    .description("read, filter and sum up a flow log")
    .argument("<file>", "a flow log, or - for stdin")
    .option("--from <ns[/pod]>", "only flows of this namespace or pod")
    .option("--to <destination>", "only flows to this name (`*.example.com` too), address or CIDR")
    .addOption(new Option("--action <action>", "only flows decided so").choices(["Allow", "Deny"]))
    .option("--since <when>", "only from then on: 90s, 10m, 2h, 3d, or a time like 2026-01-31T12:00:00Z")
    .option("-f, --follow", "wait for more lines, also after the file was rotated")
    .option("--summary", "sum up: destinations, and denials by rule and reason")
    .addOption(outputOption())
    .addHelpText(
      "after",
      help(
        [
          "sallyport flows flows.log --from app1-ns/app1 --action Deny --since 10m",
          "sallyport flows flows.log --summary",
          "sallyport flows -f flows.log -o json",
        ],
        ["0  read to the end (or until Ctrl-C)", "2  wrong usage, or the file cannot be read"],
        ["`-o json` prints one record a line. Lines that are no flow records are counted and said on stderr."],
      ),
    )
    .action(async (file, options) => (await import("./flows.ts")).flows(file, options));
}

function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("print a script that completes commands and options in a shell")
    .addArgument(program.createArgument("<shell>", "which shell").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      help(
        [
          "source <(sallyport completion bash)",
          "sallyport completion zsh > ~/.zfunc/_sallyport",
          "sallyport completion fish > ~/.config/fish/completions/sallyport.fish",
        ],
        ["0  printed", "2  wrong usage"],
      ),
    )
    .action(async (shell) => {
      const { completionScript } = await import("./completion.ts");
      process.stdout.write(completionScript(program, shell));
    });
}

function addVersion(program: Command): void {
  program
    .command("version")
    .description("print the version")
    .addOption(outputOption())
    .addHelpText("after", help(["sallyport version -o json"], ["0  printed"]))
    .action(async (options) => (await import("./version.ts")).version(options));
}

function logLevelOption(): Option {
  return new Option("--log-level <level>", "what is logged on stderr")
    .choices(["debug", "info", "warn", "error"])
    .default("info");
}

function outputOption(): Option {
  return new Option("-o, --output <format>", "how to print").choices(FORMATS).default("table");
}

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Returns milliseconds. */
function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds > 3_600) throw new InvalidArgumentError("write seconds, at most 3600");
  return seconds * 1_000;
}

const DURATIONS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Returns milliseconds. */
function parseDuration(text: string): number {
  const match = /^(\d{1,6})([smh])$/.exec(text);
  if (match === null) throw new InvalidArgumentError("Write a number with s, m or h, such as 15m.");
  return Number(match[1]) * (DURATIONS[match[2]!] ?? 0);
}

function parseSize(text: string): number {
  const match = /^(\d{1,12})([KMG]?)$/i.exec(text);
  const size = match === null ? 0 : Number(match[1]) * (UNITS[match[2]?.toUpperCase() ?? ""] ?? 1);
  if (size < 4096) throw new InvalidArgumentError("Use a number of bytes from 4096 on, or one with K, M or G.");
  return size;
}

function parseCount(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError("Use a number from 0 to 9999.");
  return Number(text);
}
