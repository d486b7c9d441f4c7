import { afterEach } from "vitest";
import { Cluster } from "./cluster.ts";
import { clusterReport } from "./cluster-report.ts";

/** Of the first failures of a file only: those that follow are mostly the same. */
let left = 2;

/** In every file of the cluster tests: a test that fails says how the shared cluster stands, if there is one. */
afterEach(async ({ task }) => {
  const name = process.env["SALLYPORT_TEST_CLUSTER"];
  if (task.result?.state !== "fail" || name === undefined || left-- <= 0) return;
  const cluster = await Cluster.open(name).catch(() => null);
  if (cluster !== null)
    console.error(`${task.name}: failed while the cluster stood so:\n${await clusterReport(cluster)}`);
});
