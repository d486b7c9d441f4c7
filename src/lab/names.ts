import { createHash } from "node:crypto";

/** Where labs keep their state; one folder a lab. */
export const LABS_DIRECTORY = "/run/sallyport/labs";
/** Where `ip netns exec` looks for the files that replace those in `/etc`. */
export const NETNS_ETC = "/etc/netns";
/** Where named network namespaces are mounted. */
export const NETNS_RUN = "/run/netns";

/** A lab name has no hyphen: `sp-a-` must not be the beginning of a name of lab `a-b`. */
const LAB_NAME = /^[a-z][a-z0-9]{0,11}$/;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Checks a lab name. @throws Error one line for the user */
export function checkLabName(name: string): string {
  if (!LAB_NAME.test(name)) {
    throw new Error(`lab name \`${name}\` is not valid: use 1 to 12 lower-case letters and digits, a letter first`);
  }
  return name;
}

/** Checks a Kubernetes namespace or pod name (RFC 1123 label). @throws Error one line for the user */
export function checkPodName(namespace: string, name: string): void {
  for (const part of [namespace, name]) {
    if (!LABEL.test(part)) {
      throw new Error(`\`${part}\` is not a valid namespace or pod name: use lower-case letters, digits and hyphens`);
    }
  }
}

export function netnsPrefix(lab: string): string {
  return `sp-${lab}-`;
}

export function nodeNetns(lab: string, node: number): string {
  return `${netnsPrefix(lab)}node${node}`;
}

export function outsideNetns(lab: string): string {
  return `${netnsPrefix(lab)}outside`;
}

/** The switch between nodes and gateway: no addresses, only a bridge, so that node-to-node traffic stays off the outside. */
export function fabricNetns(lab: string): string {
  return `${netnsPrefix(lab)}fabric`;
}

export function podNetns(lab: string, namespace: string, name: string): string {
  return `${netnsPrefix(lab)}${namespace}-${name}`;
}

/** The lab a network namespace belongs to, or null. */
export function labOfNetns(netns: string): string | null {
  return /^sp-([a-z][a-z0-9]{0,11})-./.exec(netns)?.[1] ?? null;
}

/** A UID that is the same in every run of the same lab, in the form of RFC 9562. */
export function stableUid(...parts: readonly string[]): string {
  const hex = createHash("sha256").update(parts.join("\0")).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
