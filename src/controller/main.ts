import { setTimeout as pause } from "node:timers/promises";
import { createLogger, type Logger } from "../agent/log.ts";
import type { ListenAddress } from "../agent/metrics/listen-address.ts";
import { type Answer, MetricsServer, plain, type Route } from "../agent/metrics/server.ts";
import type { ClusterAccess } from "../kube/access.ts";
import { KubeClient } from "../kube/client.ts";
import type { Reflector } from "../kube/reflector.ts";
import { Admission } from "./admission/admission.ts";
import { ClusterRanges } from "./cluster-ranges.ts";
import { Controller } from "./controller.ts";
import { DenialEvents } from "./denial-events.ts";
import { Election, LEASE_TIMES } from "./lease.ts";
import { LeaseObject } from "./lease-object.ts";
import { NodeTaints } from "./node-taint.ts";
import { controllerRegistry } from "./numbers.ts";

export interface ControllerOptions {
  readonly access: ClusterAccess;
  /** Where the Lease is. */
  readonly namespace: string;
  /** What this replica is called in the Lease: no other may bear it. */
  readonly identity: string;
  readonly listen: readonly ListenAddress[];
  /** Where the API server asks about what is written; null: nowhere. */
  readonly webhook: WebhookOptions | null;
  readonly logLevel: string;
  readonly version: string;
}

export interface WebhookOptions {
  readonly listen: Extract<ListenAddress, { kind: "tcp" }>;
  readonly certificateLifeMs: number;
}

const LEASE = "sallyport-controller";

/** Runs the controller until SIGTERM or SIGINT. */
export async function runController(options: ControllerOptions): Promise<void> {
  const log = createLogger(options.logLevel);
  const client = new KubeClient(options.access);
  const lease = { name: LEASE, namespace: options.namespace };
  const election = new Election(new LeaseObject(client, lease), lease, options.identity);
  const events = new DenialEvents(client, () => election.leads, options.identity, log);
  const controller = new Controller(client, () => election.leads, events, log);
  const ranges = new ClusterRanges(client, options.namespace, () => election.leads, log);
  const taints = new NodeTaints({
    client,
    nodes: () => ranges.reflector.objects,
    statuses: () => controller.nodeStatuses,
    leads: () => election.leads,
    log,
  });
  const { webhook, namespace } = options;
  const admission =
    webhook === null ? null : new Admission({ client, namespace, ...webhook, leads: () => election.leads, log });
  controller.onGroups = (groups) => admission?.groupsChanged(groups);
  const reflectors = [ranges.reflector, ...controller.reflectors, ...(admission?.reflectors ?? [])];
  const registry = controllerRegistry({
    reflectors,
    controller,
    events,
    election,
    admission,
    version: options.version,
  });
  const routes = new Map<string, Route>([
    ["/metrics", async () => ({ status: 200, type: registry.contentType, text: await registry.metrics() })],
    ["/healthz", () => plain(200, "ok")],
    ["/readyz", () => readiness(reflectors, admission)],
  ]);
  const servers = options.listen.map((address) => new MetricsServer(address, routes, log));
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());
  for (const server of servers) server.start();
  controller.start();
  ranges.start();
  admission?.start();
  taints.start();
  log.info({ event: "started", identity: options.identity, server: options.access.server });
  try {
    const began = (): void => {
      controller.lookAgain();
      ranges.lookAgain();
    };
    await campaign(election, began, log, stopping.signal);
  } finally {
    taints.close();
    ranges.close();
    await controller.close();
    await events.close();
    await election.release().catch(() => undefined);
    await admission?.close();
    await Promise.all(servers.map((server) => server.close()));
    client.close();
    log.info({ event: "stopped" });
  }
}

function readiness(reflectors: readonly Reflector[], admission: Admission | null): Answer {
  if (!reflectors.every(({ synced }) => synced)) return plain(503, "not everything that is watched has been read");
  return admission?.ready === false ? plain(503, "the webhook has no certificate yet, or no port") : plain(200, "ok");
}

/** Tries for the Lease until told to stop; says when that changes. */
async function campaign(election: Election, began: () => void, log: Logger, signal: AbortSignal): Promise<void> {
  let led = false;
  while (!signal.aborted) {
    try {
      await election.step();
    } catch (error) {
      log.warn({ event: "lease-trouble", problem: error instanceof Error ? error.message : String(error) });
    }
    if (election.leads !== led) {
      led = election.leads;
      log.info({ event: led ? "leading" : "following", holder: election.holder });
      if (led) began();
    }
    await pause(LEASE_TIMES.everyMs * (0.75 + Math.random() / 2), null, { signal }).catch(() => undefined);
  }
}
