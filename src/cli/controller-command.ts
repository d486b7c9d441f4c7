import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { listenAddresses } from "./listen-option.ts";
import { packageVersion } from "./version.ts";

interface Options {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly identity?: string;
  readonly listen?: readonly string[];
  readonly logLevel: string;
}

const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const DEFAULT_LISTEN = "127.0.0.1:9465";

/** Reads the command line into ControllerOptions. */
export async function controllerCommand(options: Options): Promise<void> {
  const [{ runController }, { inClusterAccess }, { kubeconfigAccess }] = await Promise.all([
    import("../controller/main.ts"),
    import("../kube/access.ts"),
    import("../kube/kubeconfig.ts"),
  ]);
  const { kubeconfig } = options;
  await runController({
    access: kubeconfig === undefined ? inClusterAccess(process.env) : kubeconfigAccess(kubeconfig),
    namespace: options.namespace ?? ownNamespace(),
    // The name of its pod; outside of one two may run on a machine.
    identity: options.identity ?? (kubeconfig === undefined ? hostname() : `${hostname()}-${process.pid}`),
    listen: listenAddresses(options.listen, DEFAULT_LISTEN),
    logLevel: options.logLevel,
    version: packageVersion(),
  });
}

function ownNamespace(): string {
  try {
    return readFileSync(NAMESPACE_FILE, "utf8").trim();
  } catch {
    return "sallyport";
  }
}
