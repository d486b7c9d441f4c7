import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Lab } from "../../src/lab/lab.ts";
import { type ExecResult, inNetworkOnly, must, run, startServer } from "../../src/lab/process.ts";
import { builtPrograms, type Programs } from "../cluster/builds.ts";

const PORT = 6443;
const READY_MS = 60_000;

/** A real etcd and kube-apiserver on loopback of a lab's node; they end with the lab at the latest. */
export class RealApiServer {
  readonly #netns: string;
  readonly #folder: string;
  readonly #programs: Programs;
  #pid = 0;

  private constructor(lab: Lab, programs: Programs) {
    this.#netns = lab.node(1).netns;
    this.#folder = join(lab.directory, "api-server");
    this.#programs = programs;
  }

  static async start(lab: Lab): Promise<RealApiServer> {
    const programs = builtPrograms(["etcd", "kubernetes"]);
    if (programs === null) throw new Error("no API server is built here: `make test-cluster` builds one");
    const server = new RealApiServer(lab, programs);
    await server.#prepare();
    const etcd = ["--data-dir", join(server.#folder, "etcd"), "--log-level", "error", "--unsafe-no-fsync"];
    await startServer(server.#netns, [programs.etcd, ...etcd], join(server.#folder, "etcd.log"));
    await server.serve();
    return server;
  }

  get kubeconfig(): string {
    return join(this.#folder, "admin.kubeconfig");
  }

  async #prepare(): Promise<void> {
    mkdirSync(this.#folder);
    const [key, pem] = [this.#file("tls.key"), this.#file("tls.pem")];
    const names = "subjectAltName=IP:127.0.0.1";
    await must([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", "/CN=lab-api-server", "-addext", names, "-keyout", key, "-out", pem],
    ]);
    await must(["openssl", "genrsa", "-out", this.#file("accounts.key"), "2048"]);
    const token = randomBytes(16).toString("hex");
    writeFileSync(this.#file("tokens.csv"), `${token},admin,admin,system:masters\n`, { mode: 0o600 });
    this.writeKubeconfig(this.kubeconfig, token);
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }

  writeKubeconfig(path: string, token: string): void {
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "lab",
      contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
      clusters: [
        {
          name: "lab",
          cluster: { server: `https://127.0.0.1:${PORT}`, "certificate-authority": this.#file("tls.pem") },
        },
      ],
      users: [{ name: "lab", user: { token } }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  }

  /** Starts kube-apiserver, also again after `stop`, and waits until it answers. */
  async serve(...more: readonly string[]): Promise<void> {
    const argv = [
      this.#programs["kube-apiserver"],
      ...["--etcd-servers=http://127.0.0.1:2379", `--secure-port=${PORT}`, "--bind-address=127.0.0.1"],
      ...["--advertise-address=192.0.2.11", "--endpoint-reconciler-type=none", "--profiling=false"],
      ...[`--tls-cert-file=${this.#file("tls.pem")}`, `--tls-private-key-file=${this.#file("tls.key")}`],
      ...[`--token-auth-file=${this.#file("tokens.csv")}`, "--authorization-mode=RBAC"],
      "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
      ...[
        `--service-account-key-file=${this.#file("accounts.key")}`,
        `--service-account-signing-key-file=${this.#file("accounts.key")}`,
      ],
      "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
      "--disable-admission-plugins=ServiceAccount",
      ...more,
    ];
    this.#pid = await startServer(this.#netns, argv, this.#file("kube-apiserver.log"));
    const deadline = performance.now() + READY_MS;
    for (;;) {
      const { status } = await this.kubectl(["get", "--raw", "/readyz"]);
      if (status === 0) return;
      if (performance.now() > deadline) throw new Error(`kube-apiserver is not ready: see ${this.#folder}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** Ends kube-apiserver; what it stored stays. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    process.kill(this.#pid, signal);
    for (let alive = true; alive; await new Promise((resolve) => setTimeout(resolve, 50))) {
      try {
        process.kill(this.#pid, 0);
      } catch {
        alive = false;
      }
    }
  }

  /** As an administrator. */
  kubectl(words: readonly string[], input = ""): Promise<ExecResult> {
    const argv = [this.#programs.kubectl, "--kubeconfig", this.kubeconfig, ...words];
    return run(inNetworkOnly(this.#netns, argv), { input, timeoutMs: 30_000 });
  }

  /** @throws Error with what kubectl said */
  async must(words: readonly string[], input = ""): Promise<string> {
    const { status, stdout, stderr } = await this.kubectl(words, input);
    if (status !== 0) throw new Error(`kubectl ${words.join(" ")}: ${stderr.trim()}`);
    return stdout;
  }

  apply(...objects: readonly object[]): Promise<string> {
    return this.must(
      ["apply", "--server-side", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    );
  }
}
