import type { Command, Option } from "commander";
import { GROUP } from "../../agent/cluster/resources.ts";
import { contextNames } from "../../kube/kubeconfig.ts";
import { METADATA_ONLY } from "../../kube/listing.ts";
import { type Fields, fields } from "../../kube/object.ts";
import { type ClusterOptions, kubeconfigPaths, LiveCluster } from "./live-cluster.ts";

/** What a shell is to do beside offering the words; numbers as kubectl's completion has them. */
const DIRECTIVE = { files: 0, noFiles: 4, noSpaceNoFiles: 6 } as const;

export interface Completion {
  /** A word, or one and what it is, with a tab between. */
  readonly words: readonly string[];
  readonly directive: number;
}

/** Somebody waits for it with a finger on a key. */
const LIMIT_MS = 3_000;
const MOST_WORDS = 500;
const NONE: Completion = { words: [], directive: DIRECTIVE.noFiles };

/** Prints what may stand for the last of the words. Never fails: then there is nothing to offer. */
export async function complete(program: Command, words: readonly string[]): Promise<void> {
  const { words: found, directive } = await completionsOf(program, words).catch(() => NONE);
  process.stdout.write(`${found.map((word) => `${word}\n`).join("")}:${directive}\n`);
}

async function completionsOf(program: Command, words: readonly string[]): Promise<Completion> {
  const last = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = program.commands.find((child) => child.name() === before[0]);
  if (command === undefined) return before.length > 0 ? NONE : choose(program.commands.map(describe), last);
  const option = command.options.find((one) => takesValue(one) && [one.short, one.long].includes(before.at(-1)));
  const joined = /^(--[a-z-]+)=(.*)$/.exec(last);
  const rest = before.slice(1);
  if (option !== undefined) return valuesOf(option, command, rest.slice(0, -1), last, "");
  if (joined !== null) {
    const named = command.options.find(({ long }) => long === joined[1]);
    return named === undefined ? NONE : valuesOf(named, command, rest, joined[2] ?? "", `${joined[1]}=`);
  }
  if (last.startsWith("-")) return choose(command.options.flatMap(flagsOf), last);
  return operandsOf(command, rest, last);
}

function valuesOf(
  option: Option,
  command: Command,
  words: readonly string[],
  last: string,
  prefix: string,
): Completion | Promise<Completion> {
  const { operands: _, options } = parsed(command, words);
  if (option.argChoices !== undefined)
    return choose(
      option.argChoices.map((word) => prefix + word),
      prefix + last,
    );
  const offer = (names: readonly string[]): Completion =>
    choose(
      names.map((word) => prefix + word),
      prefix + last,
    );
  switch (option.long) {
    case "--context":
      return offer(contextNames(kubeconfigPaths(options.kubeconfig)));
    case "--namespace":
    case "--sallyport-namespace":
      return names(options, "/api/v1/namespaces").then(offer);
    case "--node":
      return names(options, `${GROUP}/egressnodestatuses`).then(offer);
    case "--kubeconfig":
      return { words: [], directive: DIRECTIVE.files };
    default:
      return NONE;
  }
}

const SCHEMES = ["https://", "http://", "quic://", "tcp://", "udp://", "sctp://", "icmp://", "dns://"];

async function operandsOf(command: Command, words: readonly string[], last: string): Promise<Completion> {
  const { operands, options } = parsed(command, words);
  const argument = command.registeredArguments[operands.length]?.name();
  if (argument === "destination") return { ...choose(SCHEMES, last), directive: DIRECTIVE.noSpaceNoFiles };
  if (argument !== "pod") return NONE;
  const slash = last.indexOf("/");
  if (slash < 0) return choose(await names(options, null), last);
  const namespace = last.slice(0, slash);
  const pods = await names({ ...options, namespace }, null);
  return choose(
    pods.map((pod) => `${namespace}/${pod}`),
    last,
  );
}

/** Names of a collection; `null`: of the pods of the namespace. */
async function names(options: ClusterOptions, path: string | null): Promise<string[]> {
  const cluster = LiveCluster.open(options, false);
  const late = setTimeout(() => cluster.close(), LIMIT_MS);
  try {
    const nameOf = ({ metadata }: Fields): string => String(fields(metadata)["name"]);
    return await cluster.list({ path: path ?? `/api/v1/namespaces/${cluster.namespace}/pods` }, nameOf, METADATA_ONLY);
  } finally {
    clearTimeout(late);
    cluster.close();
  }
}

function parsed(command: Command, words: readonly string[]): { operands: readonly string[]; options: ClusterOptions } {
  command.exitOverride().configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  const { operands } = command.parseOptions([...words]);
  return { operands, options: command.opts() };
}

function choose(words: readonly string[], last: string): Completion {
  return { words: words.filter((word) => word.startsWith(last)).slice(0, MOST_WORDS), directive: DIRECTIVE.noFiles };
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

function flagsOf(option: Option): string[] {
  return option.long === undefined || option.hidden ? [] : [`${option.long}\t${option.description}`];
}

function describe(command: Command): string {
  return `${command.name()}\t${command.description()}`;
}
