import { clusterAccess, sallyportNamespace } from "./cluster-option.ts";
import { UsageError } from "./failure.ts";

interface Options {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  /** Milliseconds. */
  readonly wait: number;
}

const SHOWN = 20;

/** Tells the agents of a cluster that Sallyport goes. Nodes that have not answered are named: one that is dead must hold up nobody. */
export async function announceUninstallCommand({ kubeconfig, namespace, wait }: Options): Promise<void> {
  const access = await clusterAccess(kubeconfig);
  const { KubeClient } = await import("../kube/client.ts");
  const { announceUninstall } = await import("../controller/uninstall.ts");
  const client = new KubeClient(access);
  try {
    const where = namespace ?? (await sallyportNamespace());
    const { told, silent } = await announceUninstall(client, where, wait).catch((error: Error) => {
      throw new UsageError(`\`${access.server}\`: ${error.message}`);
    });
    console.log(`${told.length} agents know: they take their rules with them when they end within 15 minutes`);
    if (silent.length === 0) return;
    const more = silent.length > SHOWN ? ` and ${silent.length - SHOWN} more` : "";
    console.log(
      `no answer from: ${silent.slice(0, SHOWN).join(", ")}${more}. Their rules stay until \`sallyport agent --remove\` runs there`,
    );
  } finally {
    client.close();
  }
}
