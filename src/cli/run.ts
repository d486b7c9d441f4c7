import { Command, CommanderError } from "commander";
import { addCommands } from "./commands.ts";
import { describeFailure, EXIT } from "./failure.ts";

/** Words after which the commands of the lab must be known; loading them costs what `explain` should not pay. */
const NEEDS_LAB = new Set(["lab", "completion"]);

const LAB_HELP = `
Examples:
  sallyport lab up --nodes 2
  sallyport lab exec app1-ns/app1 -- curl -sS https://api.github.com/
  sallyport lab down --all

Exit status:
  0  done; exec: the command's own status
  2  wrong usage, no root, or a kernel feature is missing`;

/** The first word when the shim was called as `kubectl-sallyport`. */
const PLUGIN_WORD = "kubectl";

/** Runs one command line; sets `process.exitCode`. */
export async function run(words: readonly string[]): Promise<void> {
  // A reader that has seen enough (`| head`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.usage),
  );
  try {
    // What every program answers to.
    const asksVersion = words.length === 1 && (words[0] === "--version" || words[0] === "-V");
    if (asksVersion) return await run(["version"]);
    if (words[0] === PLUGIN_WORD) return await runPlugin(words.slice(1));
    const command = words[0] === "help" ? words[1] : words[0];
    const program = await createProgram(NEEDS_LAB.has(command ?? ""), words);
    await program.parseAsync(words as string[], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    } else {
      process.stderr.write(`sallyport: ${describeFailure(error)}\n`);
      process.exitCode = EXIT.usage;
    }
  }
}

async function runPlugin(words: readonly string[]): Promise<void> {
  const { createPlugin } = await import("./plugin/program.ts");
  if (words[0] === "__complete") {
    const { complete } = await import("./plugin/complete.ts");
    return complete(createPlugin(), words.slice(1));
  }
  await createPlugin(words).parseAsync(words as string[], { from: "user" });
}

/**
 * The whole program; with `withLab` the lab's own commands too, else only a line in the help. `words`: the command line, for the
 * hint below a usage error.
 */
export async function createProgram(withLab: boolean, words: readonly string[] = []): Promise<Command> {
  const program = emptyProgram("sallyport", words).description(
    "Decides which workload of a Kubernetes cluster may reach which outside destination, and shows why.",
  );
  addCommands(program);
  if (withLab) {
    const { registerLabCommands } = await import("../lab/command.ts");
    registerLabCommands(program);
    program.commands.find((child) => child.name() === "lab")?.addHelpText("after", LAB_HELP);
    inheritSettings(program);
  } else {
    program.command("lab").description("a small cluster of network namespaces to try things in");
  }
  program.command(PLUGIN_WORD).description("the same as `kubectl sallyport`: ask a live cluster");
  program.addHelpText("after", "\nExit status: 0 done, 1 what was checked does not hold, 2 wrong usage or set-up.");
  return program;
}

/** Commands made by another module still fail in our way. */
function inheritSettings(parent: Command): void {
  for (const child of parent.commands) {
    child.copyInheritedSettings(parent);
    inheritSettings(child);
  }
}

/** A program without commands that fails in our way. `words`: the command line, for the hint below a usage error. */
export function emptyProgram(name: string, words: readonly string[]): Command {
  const program = new Command(name)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(inOurWords(text, helpFor(program, words))) })
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .helpCommand("help [command]", "show the help of a command");
  return program;
}

/** The command line that shows the help of what was called, as far as it is known. */
function helpFor(program: Command, words: readonly string[]): string {
  let command = program;
  const path = [program.name()];
  for (const word of words) {
    const child = command.commands.find((one) => one.name() === word);
    if (child === undefined) break;
    command = child;
    path.push(word);
  }
  return `${path.join(" ")} --help`;
}

/** commander's `error: unknown option '--x'` in one line of our own style. */
function inOurWords(text: string, hint: string): string {
  const line = text
    .trim()
    .replace(/^error: /, "")
    .replace(/\.$/, "")
    .replace(/'([^'\n]*)'/g, "`$1`")
    .replace(/\s*\n\s*/g, " ");
  return `sallyport: ${line}; see \`${hint}\`\n`;
}
