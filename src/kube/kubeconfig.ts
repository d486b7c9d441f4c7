import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import type { ClusterAccess, Held } from "./access.ts";
import { credentialPlugin } from "./kubeconfig-plugin.ts";
import { type Fields, fields } from "./object.ts";

/** What a person's kubeconfig says of one of its contexts. */
export interface KubeContext {
  readonly name: string;
  readonly access: ClusterAccess;
  /** Null: it names none. */
  readonly namespace: string | null;
}

/** What is chosen beside what the files say. */
export interface ContextChoice {
  readonly context?: string | undefined;
  readonly cluster?: string | undefined;
  readonly user?: string | undefined;
}

/**
 * The access that the current context of a kubeconfig file names: server, CA, and a client certificate or a token. Programs
 * that it names are not run: whoever runs for long logs in as itself.
 * @throws Error one line for the user
 */
export function kubeconfigAccess(path: string): ClusterAccess {
  const { access } = kubeContext([path]);
  if (access.plugin === undefined) return access;
  throw new Error(`\`${path}\`: \`exec\` is not supported here: use a client certificate or a token`);
}

/**
 * A context of one or several kubeconfig files, which count as one: of what several say, the first one's word holds. Files that are not
 * there are passed over unless there is no other. @throws Error one line for the user
 */
export function kubeContext(paths: readonly string[], choice: ContextChoice = {}): KubeContext {
  const files = readFiles(paths);
  try {
    const current = files
      .map(({ config }) => config["current-context"])
      .find((one) => typeof one === "string" && one !== "");
    const name = choice.context ?? current;
    const alone = choice.context === undefined && choice.cluster !== undefined && choice.user !== undefined;
    const context = alone ? {} : entry(files, "contexts", name, "context").value;
    const cluster = entry(files, "clusters", choice.cluster ?? context["cluster"], "cluster");
    const who = choice.user ?? context["user"];
    const user = who === undefined || who === "" ? { value: {}, folder: "" } : entry(files, "users", who, "user");
    const { namespace } = context;
    return {
      name: String(name ?? ""),
      access: accessOf(cluster, user),
      namespace: typeof namespace === "string" && namespace !== "" ? namespace : null,
    };
  } catch (error) {
    throw new Error(`${paths.map((path) => `\`${path}\``).join(", ")}: ${(error as Error).message}`);
  }
}

/** Names of all contexts. Never throws. */
export function contextNames(paths: readonly string[]): string[] {
  try {
    return readFiles(paths).flatMap(({ config }) => entriesOf(config, "contexts").map(({ name }) => String(name)));
  } catch {
    return [];
  }
}

interface File {
  readonly config: Fields;
  /** What paths in it are relative to. */
  readonly folder: string;
}

interface Part {
  readonly value: Fields;
  readonly folder: string;
}

function readFiles(paths: readonly string[]): File[] {
  const missing: Error[] = [];
  const files = paths.flatMap((path) => {
    try {
      return [{ config: fields(parse(readFileSync(path, "utf8"), { logLevel: "silent" })), folder: dirname(path) }];
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const said = new Error(`\`${path}\`: ${code ?? message.split("\n")[0]}`);
      if (code !== "ENOENT") throw said;
      missing.push(said);
      return [];
    }
  });
  if (files.length === 0) throw missing[0] ?? new Error("no kubeconfig is named");
  return files;
}

function accessOf({ value: cluster, folder: ofCluster }: Part, { value: user, folder: ofUser }: Part): ClusterAccess {
  const server = cluster["server"];
  if (typeof server !== "string" || !/^https:\/\/[^/]/.test(server)) {
    throw new Error("the cluster's `server` must begin with `https://`");
  }
  if (cluster["insecure-skip-tls-verify"] === true) {
    throw new Error("`insecure-skip-tls-verify` is refused: whoever answers would write the policies; give a CA");
  }
  if (cluster["proxy-url"] !== undefined)
    throw new Error("`proxy-url` is not supported: use a server that is reached directly");
  for (const kind of ["auth-provider", "username"]) {
    if (user[kind] === undefined) continue;
    throw new Error(`\`${kind}\` is not supported: use a client certificate, a token or an \`exec\` plug-in`);
  }
  const { token, tokenFile } = user;
  const name = cluster["tls-server-name"];
  const impersonation = impersonationOf(user);
  const plugin = user["exec"] === undefined ? null : credentialPlugin(fields(user["exec"]), ofUser, cluster, ofCluster);
  return {
    server: server.replace(/\/+$/, ""),
    serverName: typeof name === "string" ? name : null,
    ca: held(cluster, "certificate-authority", ofCluster),
    certificate: held(user, "client-certificate", ofUser),
    key: held(user, "client-key", ofUser),
    token:
      typeof tokenFile === "string"
        ? { file: resolve(ofUser, tokenFile) }
        : typeof token === "string"
          ? { text: token }
          : null,
    ...(plugin === null ? {} : { plugin }),
    ...(Object.keys(impersonation).length === 0 ? {} : { impersonation }),
  };
}

function held(of: Fields, name: string, folder: string): Held {
  const data = of[`${name}-data`];
  if (typeof data === "string") return { text: Buffer.from(data, "base64").toString("utf8") };
  const file = of[name];
  return typeof file === "string" ? { file: resolve(folder, file) } : null;
}

/** Left out, a request would be made with more rights than the file says. */
function impersonationOf(user: Fields): Record<string, string | string[]> {
  const { as, "as-uid": uid, "as-groups": groups, "as-user-extra": extra } = user;
  return {
    ...(typeof as === "string" ? { "impersonate-user": as } : {}),
    ...(typeof uid === "string" ? { "impersonate-uid": uid } : {}),
    ...(Array.isArray(groups) && groups.length > 0 ? { "impersonate-group": groups.map(String) } : {}),
    ...Object.fromEntries(
      Object.entries(fields(extra)).map(([key, values]) => [
        `impersonate-extra-${encodeURIComponent(key).toLowerCase()}`,
        Array.isArray(values) ? values.map(String) : [String(values)],
      ]),
    ),
  };
}

function entriesOf(config: Fields, list: string): Fields[] {
  return Array.isArray(config[list]) ? config[list].map(fields) : [];
}

/** The part named `field` of the entry with this name in one of the lists, of the first file that has it. */
function entry(files: readonly File[], list: string, name: unknown, field: string): Part {
  for (const { config, folder } of files) {
    const found = entriesOf(config, list).find((one) => one["name"] === name);
    if (found !== undefined) return { value: fields(found[field]), folder };
  }
  throw new Error(name === undefined ? `no \`current-context\`: choose one` : `no \`${String(name)}\` in \`${list}\``);
}
