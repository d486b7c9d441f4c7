import { mkdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { writeWhole } from "../../src/lab/state.ts";
import { buildPrograms, type Programs } from "./builds.ts";
import { makeCertificates, writeKubeconfig } from "./certificates.ts";
import { type Component, startComponent, stopComponent, waitReady } from "./components.ts";
import { apiServerArguments, type ControlPlane, controllerManagerArguments, etcdArguments } from "./control-plane.ts";
import { placeOf } from "./places.ts";

/** A real API server and its store on loopback, without nodes: objects can be written and watched, nothing runs. */
export interface ApiServer {
  readonly name: string;
  readonly server: string;
  /** Of a cluster administrator. */
  readonly kubeconfig: string;
  readonly kubectl: string;
  /** The folder of logs, certificates and data. */
  readonly directory: string;
  readonly components: readonly Component[];
}

export interface ApiServerOptions {
  /** Runs the controllers too: namespaces are then deleted whole, and get their service accounts. */
  readonly controllers?: boolean;
  /** More arguments for kube-apiserver; the last of two equal flags counts. */
  readonly arguments?: readonly string[];
}

const READY_MS = 60_000;

/** @throws Error one line for the user; nothing is left behind then but the logs */
export async function startApiServer(name: string, options: ApiServerOptions = {}): Promise<ApiServer> {
  const directory = placeOf(name);
  const programs = await buildPrograms(["etcd", "kubernetes"]);
  await stopApiServer(name);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const plane = await prepare(directory, programs);
  const server = `https://127.0.0.1:${plane.ports.api}`;
  const kubeconfig = `${directory}/admin.kubeconfig`;
  await writeKubeconfig(kubeconfig, server, plane.certificates, "admin");
  const running = new Running({ name, server, kubeconfig, kubectl: programs.kubectl, directory });
  try {
    const plain = [
      // Without the controllers no namespace would ever get the account that this plug-in asks for.
      ...(options.controllers === true ? [] : ["--disable-admission-plugins=ServiceAccount"]),
      ...(options.arguments ?? []),
    ];
    await running.start("etcd", etcdArguments(plane));
    const api = await running.start("kube-apiserver", [...apiServerArguments(plane), ...plain]);
    await serving(running.server, api);
    if (options.controllers === true) {
      const own = `${plane.kubeconfigs}/controller-manager.kubeconfig`;
      await writeKubeconfig(own, server, plane.certificates, "controller-manager");
      const controllers = await running.start("kube-controller-manager", [
        ...controllerManagerArguments(plane),
        "--secure-port=0",
      ]);
      // The account of the first namespace says that they work.
      const account = ["get", "serviceaccount", "default", "--namespace", "default"];
      await waitReady(controllers, {
        argv: [programs.kubectl, "--kubeconfig", kubeconfig, ...account],
        timeoutMs: READY_MS,
      });
    }
    return running.server;
  } catch (error) {
    await stopAll(running.server.components);
    throw error;
  }
}

/** Writes down each process as soon as it runs, so that a later call can end what a crash left. */
class Running {
  server: ApiServer;

  constructor(server: Omit<ApiServer, "components">) {
    this.server = { ...server, components: [] };
  }

  async start(name: string, argv: readonly string[]): Promise<Component> {
    const component = await startComponent({ name, argv, log: `${this.server.directory}/${name}.log` });
    this.server = { ...this.server, components: [...this.server.components, component] };
    await writeWhole(stateFile(this.server.directory), JSON.stringify(this.server, null, 1));
    return component;
  }
}

async function prepare(directory: string, programs: Programs): Promise<ControlPlane> {
  const address = "127.0.0.1";
  const [api = 0, etcd = 0, etcdPeer = 0] = await freePorts(3);
  return {
    programs,
    certificates: await makeCertificates(`${directory}/tls`, { apiServerAddresses: [] }),
    data: `${directory}/etcd`,
    kubeconfigs: directory,
    address,
    ports: { api, etcd, etcdPeer },
    listed: false,
  };
}

async function serving(server: ApiServer, api: Component): Promise<void> {
  const argv = [server.kubectl, "--kubeconfig", server.kubeconfig, "get", "--raw", "/readyz"];
  await waitReady(api, { argv, timeoutMs: READY_MS });
}

/** Ends kube-apiserver and leaves its store: its clients lose their connections. */
export async function stopServing(name: string): Promise<void> {
  for (const component of (await load(name)).components) {
    if (component.name === "kube-apiserver") await stopComponent(component);
  }
}

/** Starts kube-apiserver again on the same port and the same store. */
export async function serveAgain(name: string): Promise<ApiServer> {
  const server = await load(name);
  const components: Component[] = [];
  for (const component of server.components) {
    components.push(component.name === "kube-apiserver" ? await startComponent(component) : component);
  }
  const again = { ...server, components };
  await writeWhole(stateFile(server.directory), JSON.stringify(again, null, 1));
  for (const component of components) if (component.name === "kube-apiserver") await serving(again, component);
  return again;
}

async function load(name: string): Promise<ApiServer> {
  const text = await readFile(stateFile(placeOf(name)), "utf8").catch(() => null);
  if (text === null) throw new Error(`API server \`${name}\` is not up: start it with \`apiserver up ${name}\``);
  return JSON.parse(text) as ApiServer;
}

/** Ends the processes and removes the files. Resolves to false when there was nothing. */
export async function stopApiServer(name: string): Promise<boolean> {
  const directory = placeOf(name);
  const text = await readFile(stateFile(directory), "utf8").catch(() => null);
  if (text !== null) await stopAll((JSON.parse(text) as ApiServer).components);
  await rm(directory, { recursive: true, force: true });
  return text !== null;
}

/** The store last: the others write to it until they end. */
async function stopAll(components: readonly Component[]): Promise<void> {
  for (const component of components.toReversed()) await stopComponent(component);
}

function stateFile(directory: string): string {
  return `${directory}/state.json`;
}

/** Ports of loopback that nobody has now. All are held until the last is found, so they differ. */
async function freePorts(count: number): Promise<readonly number[]> {
  const held = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    held.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.on("error", reject);
          server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
