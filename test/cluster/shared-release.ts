import { type Lab, openLab } from "../../src/lab/lab.ts";
import { Cluster } from "./cluster.ts";
import { clusterReport } from "./cluster-report.ts";
import { loadState } from "./cluster-state.ts";
import { createCluster } from "./cluster-up.ts";
import { Sallyport } from "./sallyport.ts";

/** What the chart's first release brings to a cluster that does not know the kind yet; the value is the default. */
const CONFIG = "config.failMode=Closed";

/** A cluster with Sallyport installed in it as the chart says by default, and the outside of that cluster. */
export interface SharedRelease {
  readonly cluster: Cluster;
  readonly lab: Lab;
  readonly sallyport: Sallyport;
}

/**
 * The cluster that test files have together: who asks first makes it, the end of the run takes it down (shared-cluster.setup.ts). Files run
 * one after the other. Each has namespaces of its own, deletes what it made for the whole cluster, and leaves the
 * release as `install` made it, every component running.
 */
export async function sharedRelease(): Promise<SharedRelease> {
  const name = process.env["SALLYPORT_TEST_CLUSTER"];
  if (name === undefined)
    throw new Error("`SALLYPORT_TEST_CLUSTER` is not set: run this file by `vitest --project cluster`");
  const cluster = (await loadState(name)) === null ? await createCluster(name) : await Cluster.open(name);
  try {
    return { cluster, lab: await openLab(name), sallyport: await Sallyport.installed(cluster, CONFIG) };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${await clusterReport(cluster)}`);
  }
}
