import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ExecResult, inNetworkOnly, must, run } from "../../src/lab/process.ts";
import { buildPrograms } from "./builds.ts";
import type { Cluster } from "./cluster.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const RELEASE = "sallyport";
export const NAMESPACE = "sallyport";
/** As containerd calls an image that was imported and has no registry's name. */
const REPOSITORY = "docker.io/library/sallyport";

/** Sallyport as a user has it: the image that `make image` builds, and the chart, by helm. */
export class Sallyport {
  readonly #cluster: Cluster;
  readonly #helm: string;

  private constructor(cluster: Cluster, helm: string) {
    this.#cluster = cluster;
    this.#helm = helm;
  }

  /** Builds the image, gives it to the node and installs the chart; resolves when everything is ready. */
  static async install(cluster: Cluster, ...values: readonly string[]): Promise<Sallyport> {
    const { helm } = await buildPrograms(["helm"]);
    const sallyport = new Sallyport(cluster, helm);
    const archive = join(cluster.directory, "sallyport-image.tar");
    const build = [process.execPath, join(root, "deploy/image/build.ts"), "--out", archive];
    await must(build, { timeoutMs: 120_000 });
    await cluster.importArchive(archive);
    await sallyport.upgrade(...values);
    return sallyport;
  }

  /** What is installed already, with whatever values; with these if nothing is. */
  static async installed(cluster: Cluster, ...values: readonly string[]): Promise<Sallyport> {
    const { helm } = await buildPrograms(["helm"]);
    const sallyport = new Sallyport(cluster, helm);
    const there = await cluster.tryKubectl(["--namespace", NAMESPACE, "get", "daemonset", "sallyport-agent"]);
    return there.status === 0 ? sallyport : Sallyport.install(cluster, ...values);
  }

  /** `helm upgrade --install --wait`. */
  async upgrade(...values: readonly string[]): Promise<void> {
    const words = ["upgrade", "--install", RELEASE, join(root, "deploy/chart/sallyport"), "--namespace", NAMESPACE];
    const set = [`image.repository=${REPOSITORY}`, "image.pullPolicy=Never", ...values].flatMap((value) => [
      "--set",
      value,
    ]);
    await this.#runHelm([...words, "--create-namespace", ...set, "--wait", "--timeout", "180s"]);
    await this.rolledOut();
  }

  async uninstall(): Promise<void> {
    await this.#runHelm(["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "60s"]);
  }

  async rolledOut(): Promise<void> {
    const words = ["--namespace", NAMESPACE, "rollout", "status", "--timeout=60s", "daemonset/sallyport-agent"];
    await this.#cluster.kubectl(words, { timeoutMs: 70_000 });
  }

  /** Names of its pods; `agent` or `controller`. */
  async pods(component: string): Promise<string[]> {
    const selector = `app.kubernetes.io/component=${component}`;
    const words = [
      "--namespace",
      NAMESPACE,
      "get",
      "pods",
      "--selector",
      selector,
      "-o",
      "jsonpath={.items[*].metadata.name}",
    ];
    return (await this.#cluster.kubectl(words)).trim().split(/\s+/);
  }

  /** Runs the command line of the agent's image in the agent's pod. */
  async command(...words: readonly string[]): Promise<ExecResult> {
    const [agent = ""] = await this.pods("agent");
    return this.#cluster.exec(NAMESPACE, agent, ["sallyport", ...words]);
  }

  async #runHelm(words: readonly string[]): Promise<void> {
    const env = { KUBECONFIG: this.#cluster.kubeconfig };
    const argv = inNetworkOnly(this.#cluster.machine.netns, [this.#helm, ...words]);
    const { status, stderr } = await run(argv, { env, timeoutMs: 200_000 });
    if (status !== 0) throw new Error(`helm ${words[0]}: ${stderr.trim().slice(-1000)}`);
  }
}

/** What a browser would say of it: the HTTP status, or `none` where there is no answer. */
export async function fetched(
  cluster: Cluster,
  pod: string,
  url: string,
  ...flags: readonly string[]
): Promise<string> {
  const [namespace = "", name = ""] = pod.split("/");
  const curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", ...flags, url];
  const { stdout } = await cluster.exec(namespace, name, curl);
  return stdout === "000" || stdout === "" ? "none" : stdout;
}
