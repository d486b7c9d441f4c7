import type { Logger } from "../log.ts";
import { Exposition } from "./exposition.ts";
import type { ListenAddress } from "./listen-address.ts";
import { type AgentParts, Gatherer } from "./numbers.ts";
import type { Problems } from "./problems.ts";
import { whyNotReady, whyUnhealthy } from "./readiness.ts";
import { RecentTimes } from "./recent-times.ts";
import { type Answer, MetricsServer, plain, type Route } from "./server.ts";
import { statusReport } from "./status-report.ts";

export interface ObservatoryOptions {
  readonly listen: readonly ListenAddress[];
  readonly version: string;
  readonly problems: Problems;
  readonly log: Logger;
}

/** Lets an agent be looked at from outside: `/metrics`, `/healthz`, `/readyz` and `/status` on each address. */
export class Observatory {
  readonly #options: ObservatoryOptions;
  readonly #gatherer: Gatherer;
  readonly #exposition = new Exposition();
  readonly #recent: RecentTimes;
  readonly #servers: readonly MetricsServer[];

  constructor(parts: () => AgentParts, options: ObservatoryOptions) {
    this.#options = options;
    this.#gatherer = new Gatherer(parts);
    this.#recent = new RecentTimes(() => parts().laneNumbers.verdictTimes());
    const routes = new Map<string, Route>([
      ["/metrics", (accept) => this.#metrics(accept)],
      ["/healthz", () => health(whyUnhealthy(this.#gatherer.parts))],
      ["/readyz", async () => health(whyNotReady(await this.#gatherer.gather()))],
      ["/status", () => this.#status()],
    ]);
    this.#servers = options.listen.map((address) => new MetricsServer(address, routes, options.log));
    for (const server of this.#servers) server.start();
  }

  async close(): Promise<void> {
    this.#recent.close();
    await Promise.all(this.#servers.map((server) => server.close()));
  }

  async #metrics(accept: string): Promise<Answer> {
    const { problems, version } = this.#options;
    const numbers = await this.#gatherer.gather();
    return { status: 200, ...(await this.#exposition.render({ numbers, problems, version }, accept)) };
  }

  async #status(): Promise<Answer> {
    const { problems, version } = this.#options;
    const report = statusReport(await this.#gatherer.gather(), problems, version, this.#recent.slots());
    return { status: 200, type: "application/json", text: `${JSON.stringify(report)}\n` };
  }
}

function health(whyNot: string | null): Answer {
  return whyNot === null ? plain(200, "ok") : plain(503, whyNot);
}
