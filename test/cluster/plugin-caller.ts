import { type ChildProcess, spawn } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type ExecResult, inNetworkOnly, run } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";

const bin = fileURLToPath(new URL("../../bin", import.meta.url));

/** Somebody who calls `kubectl sallyport`, with a kubeconfig of their own. */
export class PluginCaller {
  readonly #cluster: Cluster;
  readonly #kubectl: string;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(cluster: Cluster, kubeconfig: string) {
    this.#cluster = cluster;
    const kubectl = cluster.kubectlArguments([]).find((word) => word.endsWith("kubectl"));
    if (kubectl === undefined) throw new Error("the cluster has no kubectl");
    this.#kubectl = kubectl;
    this.#env = { KUBECONFIG: kubeconfig, PATH: `${bin}:${process.env["PATH"] ?? ""}`, NO_COLOR: "1" };
  }

  static administrator(cluster: Cluster): PluginCaller {
    return new PluginCaller(cluster, cluster.kubeconfig);
  }

  /** A service account, which logs in with a program, as people do with those of cloud providers. */
  static async account(cluster: Cluster, namespace: string, name: string): Promise<PluginCaller> {
    const token = (await cluster.kubectl(["create", "token", name, "--namespace", namespace])).trim();
    const login = `${cluster.directory}/login-${name}`;
    const credential = { apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token } };
    await writeFile(login, `#!/bin/sh\ncat <<'END'\n${JSON.stringify(credential)}\nEND\n`);
    await chmod(login, 0o700);
    const view = JSON.parse(await cluster.kubectl(["config", "view", "--raw", "--minify", "-o", "json"]));
    const exec = { apiVersion: credential.apiVersion, command: login, interactiveMode: "Never" };
    const kubeconfig = `${cluster.directory}/${name}.kubeconfig`;
    await writeFile(kubeconfig, JSON.stringify({ ...view, users: [{ name: view.users[0].name, user: { exec } }] }));
    return new PluginCaller(cluster, kubeconfig);
  }

  /** Runs `kubectl sallyport …` to its end. */
  plugin(...words: readonly string[]): Promise<ExecResult> {
    return this.kubectl("sallyport", ...words);
  }

  /** What it prints with `-o json`. */
  async json<Document>(...words: readonly string[]): Promise<Document> {
    const { stdout, stderr } = await this.plugin(...words, "-o", "json");
    if (stdout === "") throw new Error(`kubectl sallyport ${words.join(" ")}: ${stderr}`);
    return JSON.parse(stdout) as Document;
  }

  kubectl(...words: readonly string[]): Promise<ExecResult> {
    return run(this.#argv(words), { env: this.#env, timeoutMs: 60_000 });
  }

  /** Starts `kubectl sallyport …`; whoever starts it ends it. */
  start(...words: readonly string[]): ChildProcess {
    const [program = "", ...rest] = this.#argv(["sallyport", ...words]);
    return spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...this.#env } });
  }

  #argv(words: readonly string[]): string[] {
    return inNetworkOnly(this.#cluster.machine.netns, [this.#kubectl, ...words]);
  }
}
