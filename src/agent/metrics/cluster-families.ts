import type { ResourceReport } from "../cluster/report.ts";
import { type Family, labelled, single } from "./family.ts";
import type { AgentNumbers } from "./numbers.ts";

type Source = Pick<AgentNumbers, "cluster">;

function each(
  type: "counter" | "gauge",
  name: string,
  help: string,
  read: (resource: ResourceReport) => number,
): Family<Source> {
  return labelled(type, name, help, "resource", ({ cluster }) =>
    (cluster?.resources ?? []).map((resource) => [resource.name, read(resource)] as const),
  );
}

const seconds = (time: string | null): number => (time === null ? 0 : Date.parse(time) / 1000);

/** Of an agent that watches an API server; without one they have no samples. */
export const CLUSTER_FAMILIES: readonly Family<Source>[] = [
  each(
    "gauge",
    "sallyport_watch_up",
    "1 while the resource is watched. 0 for long: the API server is away, or refuses (`sallyport status` says which); what is known stays in force.",
    ({ phase }) => (phase === "watching" ? 1 : 0),
  ),
  each("gauge", "sallyport_watch_objects", "Objects of the API server that are known.", ({ objects }) => objects),
  each(
    "counter",
    "sallyport_watch_restarts_total",
    "Watches that were opened again. More than a few an hour: something between here and the API server cuts them.",
    ({ watchRestarts }) => watchRestarts,
  ),
  each(
    "counter",
    "sallyport_watch_relists_total",
    "Times that all objects had to be listed again. Costs the API server most.",
    ({ relists }) => relists,
  ),
  each(
    "counter",
    "sallyport_watch_refused_total",
    "Lines and objects that could not be read. Any: something that is no API server answers.",
    ({ linesRefused }) => linesRefused,
  ),
  single(
    "gauge",
    "sallyport_api_last_contact_timestamp_seconds",
    "When the API server was last heard of, Unix time; bookmarks come once a minute.",
    ({ cluster }) => (cluster === null ? null : seconds(cluster.lastContact)),
  ),
  single("counter", "sallyport_api_requests_total", "Requests made to the API server.", ({ cluster }) =>
    cluster === null ? null : cluster.requests,
  ),
  single(
    "gauge",
    "sallyport_api_remembered_timestamp_seconds",
    "When what is enforced was written down by an earlier run, Unix time; 0 when the API server has told all of it.",
    ({ cluster }) => (cluster === null ? null : seconds(cluster.rememberedFrom)),
  ),
  labelled(
    "gauge",
    "sallyport_pods",
    "Pods of this node by state: crossing (their traffic crosses the rules), unknown (just started), not_enforced (it does not; `sallyport_pods_not_enforced` says why).",
    "state",
    ({ cluster }) => {
      if (cluster === null) return [];
      const { pods, crossing, unknown } = cluster.coverage;
      return [
        ["crossing", crossing],
        ["unknown", unknown],
        ["not_enforced", pods - crossing - unknown],
      ];
    },
  ),
  labelled(
    "gauge",
    "sallyport_pods_not_enforced",
    "Pods of this node that policies do not hold, by reason; those in system namespaces count where a policy selects them. `sallyport status` and `kubectl get ens NODE -o yaml` name them.",
    "reason",
    ({ cluster }) => Object.entries(cluster?.coverage.reasons ?? {}),
  ),
  single(
    "gauge",
    "sallyport_pods_open_at_start",
    "Pods of this node whose first packets were not held before they were known: their addresses are outside `podCIDRs`, and no `podInterfaces` leads to them. Any: set one of the two.",
    ({ cluster }) => (cluster === null ? null : cluster.coverage.openAtStart),
  ),
  single(
    "gauge",
    "sallyport_nri_connected",
    "With `--nri`: 1 while the container runtime tells addresses of pods. 0: they come from the API server alone, and `sallyport status` says why.",
    ({ cluster }) => (cluster?.runtime == null ? null : Number(cluster.runtime.connected)),
  ),
  single(
    "counter",
    "sallyport_nri_connections_total",
    "Connections to the container runtime that were made. More than it was restarted: it gives the agent up, for it answers too late.",
    ({ cluster }) => cluster?.runtime?.connections ?? null,
  ),
  labelled(
    "counter",
    "sallyport_nri_starts_total",
    "Starts of pods that the container runtime told: in_force (known in the kernel before their first container), late (not within the bound: started all the same, and held), not_waited (on the host's network, static, or after others that were late).",
    "result",
    ({ cluster }) => {
      if (cluster?.runtime == null) return [];
      const { inForce, late, notWaited } = cluster.runtime.starts;
      return [
        ["in_force", inForce],
        ["late", late],
        ["not_waited", notWaited],
      ];
    },
  ),
  single(
    "counter",
    "sallyport_nri_wait_seconds_total",
    "Seconds that starts of pods waited for the agent.",
    ({ cluster }) => cluster?.runtime?.starts.waitSeconds ?? null,
  ),
  single(
    "counter",
    "sallyport_nri_disagreements_total",
    "Pods of which the container runtime told another address than the API server, whose word holds. Any: the log names the pod.",
    ({ cluster }) => cluster?.runtime?.disagreements ?? null,
  ),
  single(
    "gauge",
    "sallyport_objects_refused",
    "Policies, groups and settings that cannot be used as they are written. Any: `sallyport status` says which and why.",
    ({ cluster }) => (cluster === null ? null : cluster.refusedCount),
  ),
];
