import { type Command, InvalidArgumentError, Option } from "commander";
import { SALLYPORT_NAMESPACE } from "../cluster-option.ts";
import { help } from "../help-text.ts";
import { PROTOCOLS } from "./destination-word.ts";
import { PLUGIN_FORMATS } from "./plugin-output.ts";

/** How people call it. */
export const PLUGIN = "kubectl sallyport";

/** The commands of `kubectl sallyport`; what a command does is loaded when it runs. */
export function addPluginCommands(program: Command): void {
  addWhy(program);
  addPolicies(program);
  addStatus(program);
  addCoverage(program);
  addFlows(program);
}

function addWhy(program: Command): void {
  const command = program
    .command("why")
    .description("say whether a pod may reach a destination, and why, and whether its node enforces that")
    .argument("<pod>", "POD, pod/POD or NAMESPACE/POD")
    .argument(
      "<destination>",
      "https://host/path, http://host:port/path, quic://host, tcp://host:port, udp://host:port, sctp://host:port, icmp://address, dns://name; or a host alone",
    )
    .option("--ip <address>", "the destination address, to which the pod did not resolve the name")
    .addOption(new Option("--proto <protocol>", "of a host alone: how it is talked to").choices(PROTOCOLS))
    .option("--port <number>", "of a host alone: its port");
  clusterOptions(command)
    .addHelpText(
      "after",
      help(
        [
          `${PLUGIN} why app1 https://api.github.com/ -n app1-ns`,
          `${PLUGIN} why app1-ns/app1 api.github.com --port 22`,
          `${PLUGIN} why app2-ns/app2 dns://dns.google -o json`,
        ],
        ["0  explained, whatever the decision", "2  wrong usage, no such pod, no right to look, or no API server"],
        ["The first line says whether the pod's node enforces what follows."],
      ),
    )
    .action(async (pod, destination, options) => (await import("./why.ts")).why(pod, destination, options));
}

function addPolicies(program: Command): void {
  const command = program
    .command("policies")
    .description("list the policies that select a pod, in the order in which they are asked")
    .argument("<pod>", "POD, pod/POD or NAMESPACE/POD");
  clusterOptions(command)
    .addHelpText(
      "after",
      help(
        [`${PLUGIN} policies app1 -n app1-ns`, `${PLUGIN} policies app1-ns/app1 -o wide`],
        ["0  listed", "2  wrong usage, no such pod, no right to look, or no API server"],
      ),
    )
    .action(async (pod, options) => (await import("./policies.ts")).policies(pod, options));
}

/** What every command takes, in kubectl's words. */
function clusterOptions(command: Command): Command {
  return command
    .addOption(new Option("-o, --output <format>", "how to print").choices(PLUGIN_FORMATS).default("table"))
    .option("-n, --namespace <name>", "the namespace; else that of the context")
    .option("--context <name>", "the context of the kubeconfig; else the current one")
    .option("--kubeconfig <file>", "else the files that KUBECONFIG names, else ~/.kube/config")
    .option("--cluster <name>", "the cluster of the kubeconfig; else the context's")
    .option("--user <name>", "the user of the kubeconfig; else the context's")
    .option("--as <user>", "ask as this user, if you may")
    .option("--as-group <group>", "and as a member of this group; also several times", collect)
    .option("--sallyport-namespace <name>", "where Sallyport itself is", SALLYPORT_NAMESPACE);
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function addStatus(program: Command): void {
  const command = program
    .command("status")
    .description("say whether every node enforces every policy as it is written: nodes, policies, controllers");
  clusterOptions(command)
    .addHelpText(
      "after",
      help(
        [`${PLUGIN} status`, `${PLUGIN} status -o json`],
        [
          "0  everything is enforced",
          "1  it is not; the first lines say what",
          "2  wrong usage, no right to look, or no API server",
        ],
        ["Of one node in detail tells `sallyport status` on the node."],
      ),
    )
    .action(async (options) => (await import("./live-status.ts")).liveStatus(options));
}

function addCoverage(program: Command): void {
  const command = program
    .command("coverage")
    .description("count pods by what holds them: isolated, restricted, observed, not enforced, no agent")
    .option("-A, --all-namespaces", "of all namespaces");
  clusterOptions(command)
    .addHelpText(
      "after",
      help(
        [`${PLUGIN} coverage -A`, `${PLUGIN} coverage -n app1-ns -o wide`],
        ["0  counted", "2  wrong usage, no right to look, or no API server"],
        [
          "isolated: what no rule allows is denied. restricted: only what a rule denies. observed: nothing is denied.",
          "not enforced: the agent says that policies do not hold the pod. no agent: none enforces on its node.",
        ],
      ),
    )
    .action(async (options) => (await import("./coverage.ts")).coverage(options));
}

function addFlows(program: Command): void {
  const command = program
    .command("flows")
    .description("show what the agents decided: the flows of a pod, of a namespace, or of all")
    .argument("[pod]", "POD, pod/POD or NAMESPACE/POD; else all pods of the namespace")
    .option("-A, --all-namespaces", "of all namespaces")
    .option("--to <destination>", "only flows to this name (`*.example.com` too), address or CIDR")
    .addOption(new Option("--action <action>", "only flows decided so").choices(["Allow", "Deny"]))
    .option("--denied", "the same as `--action Deny`")
    .option("--since <when>", "only from then on: 90s, 10m, 2h, 3d, or a time (default: 1h; with -f: now)")
    .option("--tail <count>", "the newest so many (default: 200)", parseTail)
    .option("--node <name>", "only of this node's agent")
    .option("-f, --follow", "go on with what comes")
    .option("--summary", "sum up: destinations, and denials by rule and reason");
  clusterOptions(command)
    .addHelpText(
      "after",
      help(
        [
          `${PLUGIN} flows app1 -n app1-ns --denied`,
          `${PLUGIN} flows -A -f`,
          `${PLUGIN} flows -n app1-ns --since 6h --summary`,
        ],
        ["0  shown (or until Ctrl-C)", "2  wrong usage, no right to look, or no API server"],
        [
          "Read from the logs of the agents' pods, which takes the Role `sallyport-flows` in Sallyport's namespace.",
          "`-o json` prints one record a line.",
        ],
      ),
    )
    .action(async (pod, options) => (await import("./live-flows.ts")).liveFlows(pod, options));
}

function parseTail(text: string): number {
  const count = Number(text);
  if (!/^\d{1,6}$/.test(text) || count > 100_000) throw new InvalidArgumentError("Use a number from 0 to 100000.");
  return count;
}
