import { Counter, Gauge, Registry } from "prom-client";
import type { Reflector } from "../kube/reflector.ts";
import type { Admission } from "./admission/admission.ts";
import type { Controller } from "./controller.ts";
import type { DenialEvents } from "./denial-events.ts";
import type { Election } from "./lease.ts";

export interface ControllerParts {
  readonly reflectors: readonly Reflector[];
  readonly controller: Controller;
  readonly events: DenialEvents;
  readonly election: Election;
  /** Null: it is not asked about what is written. */
  readonly admission: Admission | null;
  readonly version: string;
}

/** The controller's OpenMetrics. */
export function controllerRegistry({
  reflectors,
  controller,
  events,
  election,
  admission,
  version,
}: ControllerParts): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: "sallyport_controller_info",
    help: "The version that runs.",
    labelNames: ["version"],
    registers,
  }).set({ version }, 1);
  new Gauge({
    name: "sallyport_controller_leads",
    help: "1 while this replica holds the Lease.",
    registers,
    collect() {
      this.set(election.leads ? 1 : 0);
    },
  });
  new Gauge({
    name: "sallyport_controller_synced",
    help: "1 once everything that is watched has been read.",
    registers,
    collect() {
      this.set(reflectors.every(({ synced }) => synced) ? 1 : 0);
    },
  });
  new Gauge({
    name: "sallyport_controller_objects",
    help: "Objects known, by resource.",
    labelNames: ["resource"],
    registers,
    collect() {
      for (const { resource, objects } of reflectors) this.set({ resource: resource.name }, objects.size);
    },
  });
  new Gauge({
    name: "sallyport_controller_policies_not_compared",
    help: "Policies that could not be compared with all that are walked before: more of their rules may never decide than their status says.",
    registers,
    collect() {
      this.set(controller.notCompared);
    },
  });
  type Tell = (label: string, value: number) => void;
  const count = (name: string, help: string, label: string, read: (tell: Tell) => void): void => {
    new Counter({
      name: `sallyport_controller_${name}_total`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        read((value, number) => this.inc({ [label]: value }, number));
      },
    });
  };
  count("status_writes", "Statuses written, by result.", "result", (tell) => {
    tell("written", controller.counts.writes);
    tell("failed", controller.counts.failedWrites);
  });
  count("events", "Events on pods of what was denied, by result.", "result", (tell) => {
    const { written, failed, leftOut } = events.counts;
    tell("written", written);
    tell("failed", failed);
    tell("left-out", leftOut);
  });
  count("relists", "Lists after the first, by resource.", "resource", (tell) => {
    for (const { resource, counts } of reflectors) tell(resource.name, counts.relists);
  });
  count("watch_restarts", "Watches opened after the first, by resource.", "resource", (tell) => {
    for (const { resource, counts } of reflectors) tell(resource.name, counts.watchRestarts);
  });
  if (admission !== null) {
    count("reviews", "Documents judged when they were written, by result.", "result", (tell) => {
      for (const [result, number] of Object.entries(admission.counts))
        tell(RESULTS[result as keyof typeof RESULTS], number);
    });
    new Gauge({
      name: "sallyport_controller_certificate_end_seconds",
      help: "When the webhook's certificate ends, in Unix time; 0 while there is none.",
      registers,
      collect() {
        this.set(Math.round(admission.certificateUntil / 1000));
      },
    });
  }
  return registry;
}

const RESULTS = { allowed: "allowed", denied: "denied", refused: "refused", givenUp: "given-up" } as const;
