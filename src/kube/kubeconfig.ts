import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import type { ClusterAccess, Held } from "./access.ts";
import { type Fields, fields } from "./object.ts";

/**
 * The access that the current context of a kubeconfig file names: server, CA, and a client certificate or a token.
 * @throws Error one line for the user
 */
export function kubeconfigAccess(path: string): ClusterAccess {
  try {
    return readKubeconfig(parse(readFileSync(path, "utf8"), { logLevel: "silent" }), dirname(path));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`\`${path}\`: ${code ?? message.split("\n")[0]}`);
  }
}

/** `folder`: what paths in it are relative to. */
function readKubeconfig(value: unknown, folder: string): ClusterAccess {
  const config = fields(value);
  const context = entry(config, "contexts", config["current-context"], "context");
  const cluster = entry(config, "clusters", context["cluster"], "cluster");
  const user = entry(config, "users", context["user"], "user");
  const server = cluster["server"];
  if (typeof server !== "string" || !/^https:\/\/[^/]/.test(server)) {
    throw new Error("the cluster's `server` must begin with `https://`");
  }
  if (cluster["insecure-skip-tls-verify"] === true) {
    throw new Error("`insecure-skip-tls-verify` is refused: whoever answers would write the policies; give a CA");
  }
  for (const kind of ["exec", "auth-provider", "username"]) {
    if (user[kind] !== undefined) throw new Error(`\`${kind}\` is not supported: use a client certificate or a token`);
  }
  const held = (of: Fields, name: string): Held => {
    const data = of[`${name}-data`];
    if (typeof data === "string") return { text: Buffer.from(data, "base64").toString("utf8") };
    const file = of[name];
    return typeof file === "string" ? { file: resolve(folder, file) } : null;
  };
  const { token, tokenFile } = user;
  const name = cluster["tls-server-name"];
  return {
    server: server.replace(/\/+$/, ""),
    serverName: typeof name === "string" ? name : null,
    ca: held(cluster, "certificate-authority"),
    certificate: held(user, "client-certificate"),
    key: held(user, "client-key"),
    token:
      typeof tokenFile === "string"
        ? { file: resolve(folder, tokenFile) }
        : typeof token === "string"
          ? { text: token }
          : null,
  };
}

/** The part named `field` of the entry with this name in one of the lists. */
function entry(config: Fields, list: string, name: unknown, field: string): Fields {
  const all = Array.isArray(config[list]) ? config[list].map(fields) : [];
  const found = all.find((one) => one["name"] === name);
  if (found === undefined) throw new Error(`no \`${String(name)}\` in \`${list}\``);
  return fields(found[field]);
}
