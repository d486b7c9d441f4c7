import { request } from "node:http";
import { type MetricFamily, metric, parseOpenMetrics } from "./open-metrics.ts";

/** What an agent told about itself at one moment. */
export class Reading {
  readonly #families: ReadonlyMap<string, MetricFamily>;

  constructor(text: string) {
    this.#families = parseOpenMetrics(text);
  }

  /** Sum of the samples with these labels; the prefix `sallyport_` goes without saying. */
  of(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return metric(this.#families, `sallyport_${name}`, labels);
  }

  /** One of those about the process, by its whole name. */
  node(name: string): number {
    return metric(this.#families, name);
  }
}

/** Answer of one of the agent's pages, asked for over its socket. @throws Error when nobody answers */
export function ask(socketPath: string, path: string, accept = "*/*"): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, headers: { accept }, timeout: 15_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on("timeout", () => call.destroy(new Error(`\`${path}\` is not answered`)));
    call.on("error", reject);
    call.end();
  });
}

export async function readMetrics(socketPath: string): Promise<Reading> {
  return new Reading((await ask(socketPath, "/metrics", "application/openmetrics-text; version=1.0.0")).text);
}
