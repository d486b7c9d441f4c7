import { removeCluster } from "./cluster-down.ts";

/**
 * Around a whole run of the cluster tests: gives the shared cluster its name and takes it down. A name that was given,
 * `SALLYPORT_TEST_CLUSTER=dev`, is that of a cluster that stays up for the next run.
 */
export default function setup(): (() => Promise<void>) | undefined {
  if (process.env["SALLYPORT_TEST_CLUSTER"] !== undefined) return undefined;
  const name = `s${process.pid % 1_000_000}`;
  process.env["SALLYPORT_TEST_CLUSTER"] = name;
  return async () => {
    await removeCluster(name);
  };
}
