import { type KubeClient, KubeError } from "../kube/client.ts";
import type { Lease, LeaseStore } from "./lease.ts";

const TIMEOUT_MS = 5_000;

/** A Lease of the cluster. */
export class LeaseObject implements LeaseStore {
  readonly #client: KubeClient;
  readonly #path: string;

  constructor(client: KubeClient, { name, namespace }: { readonly name: string; readonly namespace: string }) {
    this.#client = client;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
  }

  async read(): Promise<Lease | null> {
    const chunks: Buffer[] = [];
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const reading = {
      path: this.#path,
      signal,
      silenceMs: TIMEOUT_MS,
      onChunk: (chunk: Buffer) => void chunks.push(chunk),
    };
    try {
      await this.#client.read(reading);
      return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Lease;
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return null;
      throw error;
    }
  }

  /** By PUT, which Leases allow: so the right to create ends at this one name. It fails where there is one, for it names no version. */
  create(lease: Lease): Promise<Lease | null> {
    return this.#write(lease);
  }

  replace(lease: Lease): Promise<Lease | null> {
    return this.#write(lease);
  }

  async #write(lease: Lease): Promise<Lease | null> {
    const body = JSON.stringify(lease);
    try {
      const answer = await this.#client.write({
        method: "PUT",
        path: this.#path,
        contentType: "application/json",
        body,
        timeoutMs: TIMEOUT_MS,
      });
      return JSON.parse(answer) as Lease;
    } catch (error) {
      if (error instanceof KubeError && (error.status === 409 || lacksVersion(error))) return null;
      throw error;
    }
  }
}

/** What was to be created is there. */
function lacksVersion({ status, message }: KubeError): boolean {
  return status === 422 && message.includes("metadata.resourceVersion");
}
