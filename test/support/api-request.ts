import { Agent, request } from "node:https";
import { CredentialReader } from "../../src/kube/access.ts";
import { kubeconfigAccess } from "../../src/kube/kubeconfig.ts";

export interface ApiAnswer {
  readonly status: number;
  /** The object, or what is wrong (`Status`). */
  readonly body: { readonly message?: string; readonly [field: string]: unknown };
}

/** Requests to a test's API server, as the administrator of its kubeconfig or, by impersonation, as somebody else. */
export class ApiRequests {
  readonly #server: string;
  readonly #agent: Agent;
  readonly #headers: Readonly<Record<string, string>>;

  /** `node`: the one whose name the user's token would carry. */
  constructor(kubeconfig: string, user: string | null = null, node: string | null = null) {
    const access = kubeconfigAccess(kubeconfig);
    const { ca, certificate, key } = new CredentialReader(access).read();
    this.#server = access.server;
    this.#headers = {
      ...(user === null ? {} : { "impersonate-user": user }),
      ...(node === null ? {} : { "impersonate-extra-authentication.kubernetes.io%2Fnode-name": node }),
    };
    this.#agent = new Agent({
      keepAlive: true,
      ...(ca === null ? {} : { ca }),
      ...(certificate === null || key === null ? {} : { cert: certificate, key }),
    });
  }

  /** A server that asks for patience (429: a definition's storage is being set up) is asked again. */
  async send(method: string, path: string, body?: unknown, type = "application/json"): Promise<ApiAnswer> {
    for (let left = 50; ; left--) {
      const answer = await this.#once(method, path, body, type);
      if (answer.status !== 429 || left === 0) return answer;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #once(method: string, path: string, body: unknown, type: string): Promise<ApiAnswer> {
    const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, this.#server),
        {
          method,
          agent: this.#agent,
          timeout: 30_000,
          headers: {
            ...this.#headers,
            accept: "application/json",
            ...(text === undefined ? {} : { "content-type": type }),
          },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on("data", (part: Buffer) => parts.push(part));
          response.on("error", reject);
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, body: bodyOf(Buffer.concat(parts).toString()) }),
          );
        },
      );
      sent.on("error", reject);
      sent.on("timeout", () => sent.destroy(new Error(`${method} ${path}: no answer`)));
      sent.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A path that no API server knows is answered in plain text. */
function bodyOf(text: string): ApiAnswer["body"] {
  return /^\s*\{/.test(text) ? JSON.parse(text) : { message: text.trim() };
}
