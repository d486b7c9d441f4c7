import { type Command, Option } from "commander";
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
