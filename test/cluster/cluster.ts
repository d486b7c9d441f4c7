import { writeFile } from "node:fs/promises";
import { type ExecOptions, type ExecResult, inNetworkOnly, must, run } from "../../src/lab/process.ts";
import { loadState, type State, saveState } from "./cluster-state.ts";
import { type Component, stopComponent } from "./components.ts";
import { type Image, imageArchive } from "./image.ts";
import { type Machine, onMachine, startOnMachine } from "./machine.ts";
import { placeOf } from "./places.ts";

/** On a busy machine forty objects take a minute to be written. */
const KUBECTL = { timeoutMs: 120_000 };

/** A handle on a running cluster. Several processes may hold one; only one may stop and start components. */
export class Cluster {
  #state: State;
  #saved: Promise<void> = Promise.resolve();

  constructor(state: State) {
    this.#state = state;
  }

  /** @throws Error one line for the user, when there is none of this name */
  static async open(name: string): Promise<Cluster> {
    const state = await loadState(name);
    if (state === null || state.machine === null)
      throw new Error(`cluster \`${name}\` is not up: \`up ${name}\` starts it`);
    return new Cluster(state);
  }

  get name(): string {
    return this.#state.name;
  }

  get directory(): string {
    return placeOf(this.#state.name);
  }

  get machine(): Machine {
    if (this.#state.machine === null) throw new Error(`the machine of cluster \`${this.name}\` does not run`);
    return this.#state.machine;
  }

  /** Its servers, running or not. */
  get components(): readonly Component[] {
    return this.#state.components;
  }

  /** Of a cluster administrator; its server is reached from the node's network namespace only. */
  get kubeconfig(): string {
    return `${this.directory}/admin.kubeconfig`;
  }

  /** The command line of a kubectl that reaches this cluster. */
  kubectlArguments(words: readonly string[]): string[] {
    const program = [this.#state.kubectl, "--kubeconfig", this.kubeconfig];
    return inNetworkOnly(this.machine.netns, [...program, ...words]);
  }

  /** Runs kubectl to success. @throws Error with the first line of its complaint */
  kubectl(words: readonly string[], options: ExecOptions = {}): Promise<string> {
    return must(this.kubectlArguments(words), { ...KUBECTL, ...options });
  }

  tryKubectl(words: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return run(this.kubectlArguments(words), { ...KUBECTL, ...options });
  }

  /** Writes objects as they are given, new or not; what lies in a namespace once that has its account, without which no pod is taken. */
  async apply(objects: readonly object[]): Promise<void> {
    const namespaces = objects.filter(isNamespace);
    await this.#applyList(namespaces);
    for (const { metadata } of namespaces) {
      const { name } = metadata;
      await this.kubectl(["wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s"]);
    }
    await this.#applyList(objects.filter((object) => !isNamespace(object)));
  }

  async #applyList(items: readonly object[]): Promise<void> {
    if (items.length === 0) return;
    const list = { apiVersion: "v1", kind: "List", items };
    await this.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], { input: JSON.stringify(list) });
  }

  /** Runs a program in a pod. */
  exec(namespace: string, pod: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.tryKubectl(["exec", "--namespace", namespace, pod, "--", ...argv], options);
  }

  /** Gives the node an image under its name; pods then say `imagePullPolicy: Never`. */
  async importImage(image: Image): Promise<void> {
    const path = `${this.directory}/${image.name.replaceAll(/[^a-z0-9]+/g, "-")}.tar`;
    await writeFile(path, imageArchive(image));
    await this.importArchive(path);
  }

  /** Gives the node the images of a docker archive, which lies in the cluster's directory. */
  async importArchive(path: string): Promise<void> {
    const words = ["--namespace", "k8s.io", "images", "import", path];
    await must(onMachine(this.machine, [this.#state.ctr, ...words]), { timeoutMs: 60_000 });
  }

  /** Starts a server on the machine and writes it down. */
  async start(name: string, argv: readonly string[]): Promise<Component> {
    const component = await startOnMachine(this.machine, { name, argv, log: `${this.directory}/${name}.log` });
    const others = this.#state.components.filter((other) => other.name !== name);
    this.#state = { ...this.#state, components: [...others, component] };
    await this.#save();
    return component;
  }

  /** Ends one of the cluster's servers: `kube-apiserver`, `kubelet` ... */
  async stop(name: string): Promise<void> {
    await stopComponent(this.#component(name));
  }

  /** Starts it again as it was. */
  async restart(name: string): Promise<Component> {
    return this.start(name, this.#component(name).argv);
  }

  #component(name: string): Component {
    const found = this.#state.components.find((component) => component.name === name);
    if (found === undefined) throw new Error(`cluster \`${this.name}\` has no component \`${name}\``);
    return found;
  }

  /** Starts run side by side: each writes what is true when its turn comes. */
  #save(): Promise<void> {
    this.#saved = this.#saved.then(() => saveState(this.#state));
    return this.#saved;
  }
}

function isNamespace(object: object): object is { readonly metadata: { readonly name: string } } {
  return "kind" in object && object.kind === "Namespace";
}
