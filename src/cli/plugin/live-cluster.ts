import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { KubeClient, KubeError } from "../../kube/client.ts";
import { type KubeContext, kubeContext } from "../../kube/kubeconfig.ts";
import { listPages, type Selection } from "../../kube/listing.ts";
import { type Fields, fields } from "../../kube/object.ts";
import { PluginCredentials } from "../../kube/plugin-credentials.ts";
import { Session } from "../../kube/session.ts";
import { UsageError } from "../failure.ts";
import { inWords } from "./trouble.ts";

/** What every command of the plug-in takes; the words are kubectl's. */
export interface ClusterOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly cluster?: string;
  readonly user?: string;
  readonly as?: string;
  readonly asGroup?: readonly string[];
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  /** Where Sallyport itself is. */
  readonly sallyportNamespace: string;
}

/** What may not be looked at, or is not there, and what cannot be told without it. */
export interface Unseen {
  readonly what: string;
  readonly why: string;
}

const TIMEOUT_MS = 30_000;
const MOST_BYTES = 8 * 1024 * 1024;
const NOT_THERE = 404;
const FORBIDDEN = 403;

/** One person's view of one cluster, through the kubeconfig: reads only. Its errors are UsageErrors that say what to do. */
export class LiveCluster {
  readonly client: KubeClient;
  /** That of `-n`, else of the context, else `default`. */
  readonly namespace: string;
  /** Sallyport's own. */
  readonly sallyport: string;
  readonly server: string;
  readonly #stop = new AbortController();

  private constructor(context: KubeContext, options: ClusterOptions, terminal: boolean) {
    const access = impersonating(context.access, options);
    this.server = access.server;
    this.namespace = options.namespace ?? context.namespace ?? "default";
    this.sallyport = options.sallyportNamespace;
    const session = new Session(access);
    const { plugin } = access;
    this.client =
      plugin === undefined
        ? new KubeClient(access, session)
        : new KubeClient(access, session, new PluginCredentials(access, plugin, terminal, this.signal));
  }

  /** `terminal`: somebody is there who can be asked for a password. @throws UsageError */
  static open(options: ClusterOptions, terminal = process.stdin.isTTY === true): LiveCluster {
    const { context, cluster, user } = options;
    try {
      const chosen = kubeContext(kubeconfigPaths(options.kubeconfig), { context, cluster, user });
      return new LiveCluster(chosen, options, terminal);
    } catch (error) {
      const { message } = error as Error;
      const hint = message.endsWith("ENOENT") ? ": name a kubeconfig with `--kubeconfig FILE`" : "";
      throw new UsageError(`${message}${hint}`);
    }
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** One object; null: there is none of this name. */
  async find(path: string): Promise<Fields | null> {
    try {
      return await this.#get(path);
    } catch (error) {
      if (error instanceof KubeError && error.status === NOT_THERE) return null;
      throw inWords(error, path, this);
    }
  }

  /** As `find`; what may not be read is null as well, and `unseen` is told. */
  async glance(path: string, unseen: (one: Unseen) => void, what: string): Promise<Fields | null> {
    try {
      return await this.#get(path);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.status === NOT_THERE) return null;
      if (error.status !== FORBIDDEN) throw inWords(error, path, this);
      unseen({ what, why: inWords(error, path, this).message });
      return null;
    }
  }

  /** Every object of a selection, trimmed as it comes. `restart`: all that came is void. */
  async each(
    selection: Selection,
    take: (object: Fields) => void,
    restart: () => void,
    accept?: string,
  ): Promise<void> {
    try {
      await listPages(this.client, selection, {
        onItem: (text) => take(JSON.parse(text) as Fields),
        onRestart: restart,
        ...(accept === undefined ? {} : { accept }),
        silenceMs: TIMEOUT_MS,
        signal: this.signal,
      });
    } catch (error) {
      throw inWords(error, selection.path, this);
    }
  }

  /** What `read` takes of the objects of a selection, each as it comes; what it answers null to is left out. */
  async list<T>(selection: Selection, read: (object: Fields) => T | null, accept?: string): Promise<T[]> {
    let found: T[] = [];
    const take = (object: Fields): void => {
      const kept = read(object);
      if (kept !== null) found.push(kept);
    };
    const restart = (): void => {
      found = [];
    };
    await this.each(selection, take, restart, accept);
    return found;
  }

  /** As `list`; null where it may not be read, and `unseen` is told. What the server does not serve has no objects. */
  async tryList<T>(
    selection: Selection,
    read: (object: Fields) => T | null,
    unseen: (one: Unseen) => void,
    what: string,
    accept?: string,
  ): Promise<T[] | null> {
    try {
      return await this.list(selection, read, accept);
    } catch (error) {
      const { cause } = error as Error;
      if (!(cause instanceof KubeError) || ![FORBIDDEN, NOT_THERE].includes(cause.status)) throw error;
      if (cause.status === NOT_THERE) return [];
      unseen({ what, why: (error as Error).message });
      return null;
    }
  }

  close(): void {
    this.#stop.abort();
    this.client.close();
  }

  async #get(path: string): Promise<Fields> {
    const chunks: Buffer[] = [];
    let size = 0;
    await this.client.read({
      path,
      silenceMs: TIMEOUT_MS,
      signal: this.signal,
      onChunk: (chunk) => {
        size += chunk.length;
        if (size > MOST_BYTES) throw new KubeError(0, "the answer is too long");
        chunks.push(chunk);
      },
    });
    return fields(JSON.parse(Buffer.concat(chunks).toString("utf8")));
  }
}

/** As kubectl looks for it: `--kubeconfig`, else the files of KUBECONFIG, else the one in the home folder. */
export function kubeconfigPaths(given: string | undefined): string[] {
  if (given !== undefined) return [resolve(given)];
  const named = (process.env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  return named.length > 0 ? named.map((path) => resolve(path)) : [join(homedir(), ".kube", "config")];
}

function impersonating(
  access: KubeContext["access"],
  { as, asGroup = [] }: Pick<ClusterOptions, "as" | "asGroup">,
): KubeContext["access"] {
  if (as === undefined && asGroup.length > 0) throw new Error("`--as-group` goes with `--as`: add it");
  if (as === undefined) return access;
  const groups = asGroup.length > 0 ? { "impersonate-group": [...asGroup] } : {};
  return { ...access, impersonation: { "impersonate-user": as, ...groups } };
}
