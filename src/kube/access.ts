import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** What proves who we are and who the server is, at one moment. Texts are PEM; null: not used. */
export interface Credentials {
  readonly ca: string | null;
  readonly certificate: string | null;
  readonly key: string | null;
  /** Sent as `Authorization: Bearer`. */
  readonly token: string | null;
}

/** A value, or the file that holds it and may be replaced while we run. */
export type Held = { readonly text: string } | { readonly file: string } | null;

/** Where the API server is, and how to be let in. */
export interface ClusterAccess {
  /** `https://HOST:PORT`, perhaps with a path before every request's. */
  readonly server: string;
  /** The name that its certificate is checked for, where it is not the server's. */
  readonly serverName: string | null;
  readonly ca: Held;
  readonly certificate: Held;
  readonly key: Held;
  readonly token: Held;
  /** A program that is asked for certificate or token. */
  readonly plugin?: CredentialPlugin;
  /** Headers of every request that say as whom it is made. */
  readonly impersonation?: Readonly<Record<string, string | string[]>>;
}

/** As `client.authentication.k8s.io` knows it: `exec` of a kubeconfig's user. */
export interface CredentialPlugin {
  readonly apiVersion: string;
  /** A name that is looked for on the PATH, or an absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly interactive: "Never" | "IfAvailable" | "Always";
  /** What to do where the program is missing; null: it does not say. */
  readonly installHint: string | null;
  /** What it is told of the cluster, where it wants that. */
  readonly cluster: Readonly<Record<string, unknown>> | null;
}

/** Why there are no credentials. `message` is one line for the user. */
export class CredentialError extends Error {}

/** Where credentials come from. */
export interface CredentialSource {
  /** The same object for as long as nothing has changed. `anew`: the server has refused the last ones. */
  read(anew: boolean): Credentials | Promise<Credentials>;
}

const ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The access of a pod's own service account. `environment` names the server; the account's files are rotated by the
 * kubelet. @throws Error one line for the user
 */
export function inClusterAccess(
  environment: Readonly<Record<string, string | undefined>>,
  folder = ACCOUNT_FOLDER,
): ClusterAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = environment;
  if (host === undefined || host === "") {
    throw new Error("no API server: outside a pod name one with `--kubeconfig FILE`");
  }
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    serverName: null,
    ca: { file: join(folder, "ca.crt") },
    certificate: null,
    key: null,
    token: { file: join(folder, "token") },
  };
}

/** The namespace of the pod that this runs in; null: it runs in none. */
export function ownNamespace(): string | null {
  try {
    return readFileSync(join(ACCOUNT_FOLDER, "namespace"), "utf8").trim();
  } catch {
    return null;
  }
}

/** Files are looked at again this often: a token of a service account is replaced long before it ends. */
const LOOK_EVERY_MS = 10_000;

/** Reads credentials, and reads files again when they were replaced. */
export class CredentialReader implements CredentialSource {
  readonly #access: ClusterAccess;
  #stamp = "";
  #known: Credentials | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(access: ClusterAccess) {
    this.#access = access;
  }

  /**
   * The same object for as long as nothing has changed. `anew`: look at the files now, for the server has refused what
   * they held. @throws Error one line, when a file cannot be read and none was read before
   */
  read(anew = false): Credentials {
    const now = performance.now();
    if (this.#known !== null && !anew && now - this.#lookedAt < LOOK_EVERY_MS) return this.#known;
    this.#lookedAt = now;
    try {
      const { ca, certificate, key, token } = this.#access;
      const stamp = [ca, certificate, key, token].map(stampOf).join();
      if (this.#known === null || stamp !== this.#stamp) {
        this.#known = {
          ca: textOf(ca),
          certificate: textOf(certificate),
          key: textOf(key),
          token: textOf(token)?.trim() || null,
        };
        this.#stamp = stamp;
      }
    } catch (error) {
      // In the midst of being replaced: what was read before is as good as it was.
      if (this.#known === null) throw error;
    }
    return this.#known;
  }
}

function textOf(held: Held): string | null {
  if (held === null) return null;
  if ("text" in held) return held.text;
  try {
    return readFileSync(held.file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CredentialError(`\`${held.file}\` cannot be read (${code}): it is to let us in`);
  }
}

function stampOf(held: Held): string {
  if (held === null || "text" in held) return "";
  try {
    const { ino, size, mtimeMs } = statSync(held.file);
    return `${ino}/${size}/${mtimeMs}`;
  } catch {
    return "gone";
  }
}
