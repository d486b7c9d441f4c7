import { once } from "node:events";
import { parseLine } from "../flow/line.ts";
import { EXIT, UsageError } from "./failure.ts";
import { type FilterOptions, flowFilter } from "./flow-filter.ts";
import { followLines, readLines } from "./flow-lines.ts";
import { FlowSummarizer, summaryText } from "./flow-summary.ts";
import { flowHeading, recordText } from "./flow-text.ts";
import { type Format, printAs } from "./output.ts";

interface Options extends FilterOptions {
  readonly follow?: boolean;
  readonly summary?: boolean;
  readonly output: Format;
}

/** Reads a flow log to its end, or on and on with `--follow`. Lines that are no records are counted and said. */
export async function flows(path: string, options: Options): Promise<void> {
  if (options.follow === true && options.summary === true)
    throw new UsageError("`--follow` has no end to sum up: leave `--summary` out");
  const keep = flowFilter(options, Date.now());
  const stop = new AbortController();
  if (options.follow === true)
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const lines = options.follow === true && path !== "-" ? followLines(path, stop.signal) : readLines(path);
  const summary = options.summary === true ? new FlowSummarizer() : null;
  let heading = flowHeading(options.output);
  let broken = 0;
  try {
    for await (const line of lines) {
      const record = parseLine(line);
      if (record === null) broken++;
      else if (keep(record)) {
        if (summary !== null) summary.add(record);
        else {
          await write(heading + (await recordText(record, options.output)));
          heading = "";
        }
      }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new UsageError(`\`${path}\` cannot be read: ${(error as Error).message}`);
  }
  if (summary !== null) {
    const result = summary.finish();
    await printAs(options.output, { ...result, broken }, () => summaryText(result));
  }
  if (broken > 0)
    process.stderr.write(`sallyport: ${broken} ${broken === 1 ? "line is" : "lines are"} no flow record\n`);
  process.exitCode = EXIT.ok;
}

/** To standard output. Waits where the reader is slow, so that a large log does not pile up in memory. */
export async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}
