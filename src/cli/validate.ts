import { hasErrors, loadDocuments } from "../policy/documents.ts";
import type { Problem } from "../policy/problem.ts";
import { EXIT } from "./failure.ts";
import { type Format, paint, printAs, printable } from "./output.ts";
import { readDocuments } from "./scene.ts";

interface Options {
  readonly strict?: boolean;
  readonly output: Format;
}

/** Checks documents and prints every problem; exit status 1 on errors, with `--strict` on warnings too. */
export async function validate(paths: readonly string[], options: Options): Promise<void> {
  const files = readDocuments(paths);
  const { policies, groups, configs, problems } = loadDocuments(files);
  const valid = !hasErrors(problems) && (options.strict !== true || problems.length === 0);
  const counts = { files: files.length, policies: policies.length, groups: groups.length, configs: configs.length };
  await printAs(
    options.output,
    { valid, ...counts, problems },
    () => problems.map(problemLine).join("") + summary(counts, problems),
  );
  process.exitCode = valid ? EXIT.ok : EXIT.failed;
}

function problemLine({ file, line, column, severity, message }: Problem): string {
  const word = severity === "warning" ? `${paint("warn", "warning:")} ` : "";
  return `${printable(`${file}:${line}:${column}`)}: ${word}${printable(message)}\n`;
}

function summary(counts: Readonly<Record<string, number>>, problems: readonly Problem[]): string {
  const errors = problems.filter(({ severity }) => severity === "error").length;
  const read = `${plural(counts.files, "file")}, ${plural(counts.policies, "policy", "policies")}, ${plural(counts.groups, "group")}`;
  return `${read}: ${plural(errors, "error")}, ${plural(problems.length - errors, "warning")}\n`;
}

function plural(count = 0, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
