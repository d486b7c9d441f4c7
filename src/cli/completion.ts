import type { Command, Option } from "commander";

export type Shell = "bash" | "zsh" | "fish";

/** One level of commands, flattened: `path` is `lab up` for the command `up` of `lab`. */
interface Entry {
  readonly path: string;
  readonly description: string;
  readonly options: readonly OptionWords[];
  /** Next words: commands below, or the choices of an argument. */
  readonly words: readonly string[];
}

interface OptionWords {
  readonly flags: readonly string[];
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly description: string;
}

/** A script for the shell, made from the commands as they are registered; nothing is asked at completion time. */
export function completionScript(program: Command, shell: Shell): string {
  const entries = collect(program, []);
  if (shell === "bash") return bash(entries);
  if (shell === "zsh") return `#compdef sallyport\nautoload -U +X bashcompinit && bashcompinit\n${bash(entries)}`;
  return fish(entries);
}

function collect(command: Command, path: readonly string[]): Entry[] {
  const children = command.commands.filter((child) => child.name() !== "help");
  const entry: Entry = {
    path: path.join(" "),
    description: firstSentence(command.description()),
    options: command.options.filter((option) => !option.hidden).map(optionWords),
    words: [
      ...children.map((child) => child.name()),
      ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    ],
  };
  return [entry, ...children.flatMap((child) => collect(child, [...path, child.name()]))];
}

function optionWords(option: Option): OptionWords {
  const flags = [option.short, option.long].filter((flag): flag is string => typeof flag === "string");
  return {
    flags,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    description: firstSentence(option.description),
  };
}

function firstSentence(text: string): string {
  return (text.split(/[:;]/)[0] ?? "").replace(/['`"\\$]/g, "");
}

function bash(entries: readonly Entry[]): string {
  const paths = entries.filter((entry) => entry.path !== "").map((entry) => `"${entry.path}"`);
  const cases = entries.map((entry) => {
    const flags = [...entry.options.flatMap((option) => option.flags), "--help"];
    return `    "${entry.path}") words="${entry.words.join(" ")}"; flags="${flags.join(" ")}" ;;`;
  });
  const values = entries.flatMap((entry) =>
    entry.options
      .filter((option) => option.choices.length > 0)
      .flatMap((option) =>
        option.flags.map(
          (flag) =>
            `    "${entry.path} ${flag}") COMPREPLY=($(compgen -W "${option.choices.join(" ")}" -- "$current")); return ;;`,
        ),
      ),
  );
  const files = entries.flatMap((entry) =>
    entry.options
      .filter((option) => option.takesValue && option.choices.length === 0)
      .flatMap((option) => option.flags.map((flag) => `"${entry.path} ${flag}"`)),
  );
  return `_sallyport() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path="" words="" flags="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${path:+$path }\${COMP_WORDS[i]}" in
      ${paths.join("|")}) path="\${path:+$path }\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $previous" in
${values.join("\n")}
    ${files.join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case "$path" in
${cases.join("\n")}
  esac
  if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$current"))
  elif [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$current"))
  else COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _sallyport sallyport
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = ["complete -c sallyport -f"];
  for (const entry of entries) {
    const condition = fishCondition(entry, entries);
    for (const word of entry.words) {
      const child = entries.find((other) => other.path === (entry.path === "" ? word : `${entry.path} ${word}`));
      lines.push(`complete -c sallyport -n '${condition}' -a '${word}' -d '${child?.description ?? ""}'`);
    }
    for (const option of entry.options) lines.push(fishOption(condition, option));
    if (entry.words.length === 0) lines.push(`complete -c sallyport -n '${condition}' -F`);
  }
  return `${lines.join("\n")}\n`;
}

function fishCondition(entry: Entry, entries: readonly Entry[]): string {
  if (entry.path === "") return "__fish_use_subcommand";
  const [first, second] = entry.path.split(" ");
  if (second !== undefined) return `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`;
  const below = entries.filter((other) => other.path.startsWith(`${first} `)).map((other) => other.path.split(" ")[1]);
  const notBelow = below.length > 0 ? `; and not __fish_seen_subcommand_from ${below.join(" ")}` : "";
  return `__fish_seen_subcommand_from ${first}${notBelow}`;
}

function fishOption(condition: string, option: OptionWords): string {
  const flags = option.flags.map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const value = option.choices.length > 0 ? ` -x -a '${option.choices.join(" ")}'` : option.takesValue ? " -r -F" : "";
  return `complete -c sallyport -n '${condition}' ${flags.join(" ")}${value} -d '${option.description}'`;
}
