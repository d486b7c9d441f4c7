import { UsageError } from "../failure.ts";

export const PROTOCOLS = ["https", "http", "quic", "tcp", "udp", "sctp", "icmp", "dns"] as const;

export interface DestinationOptions {
  readonly proto?: string;
  readonly port?: string;
}

/** A destination as `explain --to` takes it, of a URL, or of a host with `--proto` and `--port`; `host` alone is HTTPS. @throws UsageError */
export function destinationUrl(text: string, { proto, port }: DestinationOptions): string {
  if (text.includes("://")) {
    if (proto === undefined && port === undefined) return text;
    throw new UsageError(`\`${text}\` says protocol and port itself: leave \`--proto\` and \`--port\` out`);
  }
  if (port !== undefined && !/^[1-9]\d{0,4}$/.test(port))
    throw new UsageError(`\`--port ${port}\`: write a number from 1 to 65535`);
  const scheme = proto ?? (port === undefined || port === "443" ? "https" : "tcp");
  const [, host = "", rest = ""] = /^([^/?#]*)(.*)$/s.exec(text) ?? [];
  const bare = host.split(":").length > 2 && !host.startsWith("[") ? `[${host}]` : host;
  return `${scheme}://${bare}${port === undefined ? "" : `:${port}`}${rest}`;
}
