import type { Command } from "commander";
import { emptyProgram } from "../run.ts";
import { addPluginCommands, PLUGIN } from "./commands.ts";

/** The program that kubectl runs as its plug-in. `words`: the command line. */
export function createPlugin(words: readonly string[] = []): Command {
  const program = emptyProgram(PLUGIN, words).description(
    "Asks a live cluster who may reach what outside of it, why, and whether that is enforced.",
  );
  addPluginCommands(program);
  program.addHelpText("after", "\nExit status: 0 done, 1 what was checked does not hold, 2 it could not be done.");
  return program;
}
