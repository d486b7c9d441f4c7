/** What stands below the options in a command's help. */
export function help(examples: readonly string[], statuses: readonly string[], notes: readonly string[] = []): string {
  const block = (title: string, lines: readonly string[]) =>
    `\n${title}:\n${lines.map((line) => `  ${line}\n`).join("")}`;
  return `${notes.length > 0 ? `\n${notes.join("\n")}\n` : ""}${block("Examples", examples)}${block("Exit status", statuses)}`.trimEnd();
}
