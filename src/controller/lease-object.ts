import { type KubeClient, KubeError } from "../kube/client.ts";
import type { Lease, LeaseStore } from "./lease.ts";

const TIMEOUT_MS = 5_000;

/** A Lease of the cluster. */
export class LeaseObject implements LeaseStore {
  readonly #client: KubeClient;
  readonly #folder: string;
  readonly #name: string;

  constructor(client: KubeClient, { name, namespace }: { readonly name: string; readonly namespace: string }) {
    this.#client = client;
    this.#folder = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    this.#name = name;
  }

  async read(): Promise<Lease | null> {
    const chunks: Buffer[] = [];
    const path = `${this.#folder}/${this.#name}`;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const reading = { path, signal, silenceMs: TIMEOUT_MS, onChunk: (chunk: Buffer) => void chunks.push(chunk) };
    try {
      await this.#client.read(reading);
      return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Lease;
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return null;
      throw error;
    }
  }

  create(lease: Lease): Promise<Lease | null> {
    return this.#write("POST", this.#folder, lease);
  }

  replace(lease: Lease): Promise<Lease | null> {
    return this.#write("PUT", `${this.#folder}/${this.#name}`, lease);
  }

  async #write(method: "POST" | "PUT", path: string, lease: Lease): Promise<Lease | null> {
    const body = JSON.stringify(lease);
    try {
      const answer = await this.#client.write({
        method,
        path,
        contentType: "application/json",
        body,
        timeoutMs: TIMEOUT_MS,
      });
      return JSON.parse(answer) as Lease;
    } catch (error) {
      if (error instanceof KubeError && error.status === 409) return null;
      throw error;
    }
  }
}
