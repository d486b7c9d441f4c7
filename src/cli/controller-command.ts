import { hostname } from "node:os";
import { clusterAccess, sallyportNamespace } from "./cluster-option.ts";
import { listenAddresses } from "./listen-option.ts";
import { packageVersion } from "./version.ts";

interface Options {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly identity?: string;
  readonly listen?: readonly string[];
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
    logLevel: options.logLevel,
    version: packageVersion(),
  });
}
