import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { CredentialPlugin } from "./access.ts";
import { type Fields, fields } from "./object.ts";

const VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
const INTERACTIVE = ["Never", "IfAvailable", "Always"] as const;
/** Where a cluster of a kubeconfig keeps what its plug-in wants to know. */
const EXTENSION = "client.authentication.k8s.io/exec";

/**
 * Reads `exec` of a kubeconfig's user. `folder`: what a relative path of the program is relative to.
 * @throws Error one line for the user
 */
export function credentialPlugin(
  exec: Fields,
  folder: string,
  cluster: Fields,
  clusterFolder: string,
): CredentialPlugin {
  const { apiVersion, command, args, env, interactiveMode = "IfAvailable", installHint, provideClusterInfo } = exec;
  if (typeof command !== "string" || command === "") throw new Error("`exec` names no `command`");
  if (typeof apiVersion !== "string" || !VERSIONS.includes(apiVersion)) {
    throw new Error(`\`exec\` asks for \`${String(apiVersion)}\`: it must be \`${VERSIONS[0]}\`, or v1beta1 of it`);
  }
  const interactive = INTERACTIVE.find((mode) => mode === interactiveMode);
  if (interactive === undefined)
    throw new Error(`\`interactiveMode\` of \`exec\` must be one of ${INTERACTIVE.join(", ")}`);
  const variables = Array.isArray(env) ? env.map(fields) : [];
  return {
    apiVersion,
    command: command.includes("/") ? resolve(folder, command) : command,
    args: Array.isArray(args) ? args.map(String) : [],
    env: Object.fromEntries(variables.map(({ name, value }) => [String(name), String(value ?? "")])),
    interactive,
    installHint: typeof installHint === "string" && installHint.trim() !== "" ? installHint : null,
    cluster: provideClusterInfo === true ? clusterInfo(cluster, clusterFolder) : null,
  };
}

/** As `spec.cluster` of an ExecCredential has it; the server is added by whoever asks. */
function clusterInfo(cluster: Fields, folder: string): Fields {
  const {
    "tls-server-name": name,
    "certificate-authority-data": data,
    "certificate-authority": file,
    extensions,
  } = cluster;
  const ca =
    typeof data === "string"
      ? data
      : typeof file === "string"
        ? readFileSync(resolve(folder, file)).toString("base64")
        : undefined;
  const all = Array.isArray(extensions) ? extensions.map(fields) : [];
  const config = all.find((one) => one["name"] === EXTENSION)?.["extension"];
  return {
    ...(typeof name === "string" ? { "tls-server-name": name } : {}),
    ...(ca === undefined ? {} : { "certificate-authority-data": ca }),
    ...(config === undefined ? {} : { config }),
  };
}
