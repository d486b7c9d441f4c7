import { hostname } from "node:os";
import { parseListen } from "../agent/metrics/listen-address.ts";
import type { WebhookOptions } from "../controller/main.ts";
import { clusterAccess, sallyportNamespace } from "./cluster-option.ts";
import { UsageError } from "./failure.ts";
import { listenAddresses } from "./listen-option.ts";
import { packageVersion } from "./version.ts";

interface Options {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly identity?: string;
  readonly listen?: readonly string[];
  readonly webhook?: string;
  readonly certificateLife: string;
  readonly logLevel: string;
}

const DEFAULT_LISTEN = "127.0.0.1:9465";

/** Reads the command line into ControllerOptions. */
export async function controllerCommand(options: Options): Promise<void> {
  const { runController } = await import("../controller/main.ts");
  const { kubeconfig } = options;
  await runController({
    access: await clusterAccess(kubeconfig),
    namespace: options.namespace ?? (await sallyportNamespace()),
    // The name of its pod; outside of one two may run on a machine.
    identity: options.identity ?? (kubeconfig === undefined ? hostname() : `${hostname()}-${process.pid}`),
    listen: listenAddresses(options.listen, DEFAULT_LISTEN),
    webhook: webhookOptions(options),
    logLevel: options.logLevel,
    version: packageVersion(),
  });
}

function webhookOptions({ webhook, certificateLife }: Options): WebhookOptions | null {
  if (webhook === undefined || webhook === "off") return null;
  const listen = parseListen(webhook);
  if (listen?.kind !== "tcp") {
    throw new UsageError(`\`--webhook ${webhook}\`: write ADDRESS:PORT (as in \`0.0.0.0:9443\`), or \`off\``);
  }
  return { listen, certificateLifeMs: lifeMs(certificateLife) };
}

const UNITS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const LEAST_MS = 2 * UNITS.m;
const MOST_MS = 825 * UNITS.d;

function lifeMs(text: string): number {
  const [, digits, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const milliseconds = Number(digits) * UNITS[unit as keyof typeof UNITS];
  if (!(milliseconds >= LEAST_MS && milliseconds <= MOST_MS)) {
    throw new UsageError(
      `\`--certificate-life ${text}\`: write minutes, hours or days from \`2m\` to \`825d\`, as in \`90d\``,
    );
  }
  return milliseconds;
}
