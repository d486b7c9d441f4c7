import { collectDefaultMetrics, Registry, type RegistryContentType } from "prom-client";
import { AGENT_FAMILIES, type MetricsSource } from "./agent-families.ts";
import { CLUSTER_FAMILIES } from "./cluster-families.ts";
import type { Family } from "./family.ts";
import { KEPT_FAMILIES } from "./kept-families.ts";
import { LANE_FAMILIES } from "./lane-families.ts";

/** Every metric of the agent itself; those about the process come from prom-client. */
export const FAMILIES: readonly Family<MetricsSource>[] = [
  ...AGENT_FAMILIES,
  ...[...LANE_FAMILIES, ...KEPT_FAMILIES, ...CLUSTER_FAMILIES].map(
    (family): Family<MetricsSource> => ({ ...family, read: ({ numbers }) => family.read(numbers) }),
  ),
];

/** The event loop is asked this often how late it is, and the lag that is shown includes it; each time wakes an idle agent. */
export const LOOP_PRECISION_MS = 100;

/** Renders metrics as OpenMetrics or as the older Prometheus text. */
export class Exposition {
  readonly #registry = new Registry<RegistryContentType>();
  readonly #names = new Map<{ name: string }, string>();
  #source: MetricsSource | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor() {
    collectDefaultMetrics({ register: this.#registry as Registry, eventLoopMonitoringPrecision: LOOP_PRECISION_MS });
    for (const family of FAMILIES) this.#registry.registerMetric(this.#metric(family) as never);
    for (const metric of this.#registry.getMetricsAsArray()) this.#names.set(metric, metric.name);
  }

  /** Names of all metrics, as they stand in `# TYPE` of the older format. */
  get names(): readonly string[] {
    return [...this.#names.values()];
  }

  /** `accept`: the header of that name. One at a time: the registry has one format at a time. */
  render(source: MetricsSource, accept: string): Promise<{ readonly type: string; readonly text: string }> {
    const next = this.#turn.then(async () => {
      const type = wantsOpenMetrics(accept) ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE;
      this.#registry.setContentType(type);
      // Rendering OpenMetrics takes `_total` off the names for good.
      for (const [metric, name] of this.#names) metric.name = name;
      this.#source = source;
      return { type, text: await this.#registry.metrics() };
    });
    this.#turn = next.catch(() => undefined);
    return next;
  }

  #metric(family: Family<MetricsSource>): object {
    const { name, type, help } = family;
    const metric = {
      name,
      type,
      help,
      get: () => {
        const samples = this.#source === null ? [] : family.read(this.#source);
        const values = samples.map(({ labels = {}, suffix, value }) =>
          suffix === undefined ? { labels, value } : { metricName: `${name}${suffix}`, labels, value },
        );
        return { name: metric.name, type, help, values };
      },
    };
    return metric;
  }
}

/** RFC 9110 §12.5.1, as far as scrapers use it: OpenMetrics 1.0 where it is asked for and not refused by `q=0`. */
export function wantsOpenMetrics(accept: string): boolean {
  return accept.split(",").some((part) => {
    const [type, ...parameters] = part.split(";").map((word) => word.trim().toLowerCase());
    if (type !== "application/openmetrics-text") return false;
    const version = parameters.find((word) => word.startsWith("version="));
    const refused = parameters.some((word) => /^q=0(\.0*)?$/.test(word));
    return !refused && (version === undefined || version === "version=1.0.0");
  });
}
