import { formatAddress, parseAddress } from "../../net/address.ts";

/** Loopback only: what the agent tells names policies and workloads. The port is this project's own choice. */
export const DEFAULT_LISTEN = "127.0.0.1:9464";

export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** `ADDRESS:PORT` (an IPv6 address in brackets) or `unix:/path`. Null: neither. */
export function parseListen(text: string): ListenAddress | null {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    // sockaddr_un holds 108 bytes with the final zero.
    return path.startsWith("/") && Buffer.byteLength(path) < 108 && !path.includes("\0")
      ? { kind: "unix", path }
      : null;
  }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const [, inBrackets, plain = "", digits = ""] = match;
  const address = parseAddress(inBrackets ?? plain);
  const port = Number(digits);
  if (address === null || port > 65535) return null;
  return { kind: "tcp", host: formatAddress(address), port };
}

export function formatListen(address: ListenAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
