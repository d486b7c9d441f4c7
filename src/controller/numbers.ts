import { Counter, Gauge, Registry } from "prom-client";
import type { Reflector } from "../kube/reflector.ts";
import type { Controller } from "./controller.ts";
import type { Election } from "./lease.ts";

/** The controller's OpenMetrics. */
export function controllerRegistry(
  reflectors: readonly Reflector[],
  controller: Controller,
  election: Election,
  version: string,
): Registry {
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
  const counters: readonly [string, string, (set: (labels: Record<string, string>, value: number) => void) => void][] =
    [
      [
        "sallyport_controller_status_writes_total",
        "Statuses written, by result.",
        (set) => {
          set({ result: "written" }, controller.counts.writes);
          set({ result: "failed" }, controller.counts.failedWrites);
        },
      ],
      [
        "sallyport_controller_relists_total",
        "Lists after the first, by resource.",
        (set) => {
          for (const { resource, counts } of reflectors) set({ resource: resource.name }, counts.relists);
        },
      ],
      [
        "sallyport_controller_watch_restarts_total",
        "Watches opened after the first, by resource.",
        (set) => {
          for (const { resource, counts } of reflectors) set({ resource: resource.name }, counts.watchRestarts);
        },
      ],
    ];
  for (const [name, help, read] of counters) {
    const labelNames = name.includes("status_writes") ? ["result"] : ["resource"];
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  }
  return registry;
}
