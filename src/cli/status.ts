import type { StatusReport } from "../agent/metrics/status-report.ts";
import { EXIT, UsageError } from "./failure.ts";
import { type Format, printAs } from "./output.ts";
import { ask, parseAgentAddress } from "./status-request.ts";
import { statusText } from "./status-text.ts";

/** Prints what an agent says of itself. Exit status 0: it enforces all it should; 1: it does not. */
export async function status(options: { readonly agent: string; readonly output: Format }): Promise<void> {
  const text = await ask(parseAgentAddress(options.agent), "/status");
  const report = readReport(text, options.agent);
  await printAs(options.output, report, () => statusText(report));
  process.exitCode = report.ready ? EXIT.ok : EXIT.failed;
}

/** Of an agent of another version single fields may differ; what is no status at all is refused. */
function readReport(text: string, from: string): StatusReport {
  const refuse = (): never => {
    throw new UsageError(`\`${from}\` answers, but not as an agent does: is it the address of \`sallyport agent\`?`);
  };
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return refuse();
  }
  if (typeof report !== "object" || report === null || typeof (report as StatusReport).ready !== "boolean") refuse();
  return report as StatusReport;
}
