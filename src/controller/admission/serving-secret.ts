import { createPrivateKey, X509Certificate } from "node:crypto";
import { type Fields, fields } from "../../kube/object.ts";
import type { ServingPair } from "./certificate.ts";

/** What the replicas share. */
export interface Serving {
  /** What is served. */
  readonly current: ServingPair | null;
  /** What will be served once every API server trusts its CA. */
  readonly next: ServingPair | null;
  /** CAs that API servers are told to trust, PEM; never more than two. */
  readonly trusted: readonly string[];
}

export const NO_SERVING: Serving = { current: null, next: null, trusted: [] };

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const MOST_BYTES = 64 * 1024;

/** Reads the `data` of the Secret. What is no pair for servers called `name` counts as not there; nothing throws. */
export function readServing(data: unknown, name: string): Serving {
  const text = (key: string): string => {
    const value = fields(data)[key];
    return typeof value === "string" && value.length <= MOST_BYTES ? Buffer.from(value, "base64").toString("utf8") : "";
  };
  return {
    current: readPair(text("tls.crt"), text("tls.key"), name),
    next: readPair(text("next.crt"), text("next.key"), name),
    trusted: certificatesOf(text("ca.crt")),
  };
}

/** `data` as a merge patch. */
export function writeServing({ current, next, trusted }: Serving): Fields {
  const base64 = (text: string | null): string | null => (text === null ? null : Buffer.from(text).toString("base64"));
  const chain = (pair: ServingPair | null): string | null => pair && pair.certificate + pair.ca;
  return {
    "ca.crt": base64(trusted.join("")),
    "tls.crt": base64(chain(current)),
    "tls.key": base64(current?.key ?? null),
    "next.crt": base64(chain(next)),
    "next.key": base64(next?.key ?? null),
  };
}

/** Milliseconds of Unix time at which nobody takes it any more. */
export function endOf({ certificate }: ServingPair): number {
  return new X509Certificate(certificate).validToDate.getTime();
}

function certificatesOf(text: string): string[] {
  return (text.match(CERTIFICATE) ?? []).map((one) => `${one}\n`);
}

/** A certificate, its CA behind it. */
function readPair(chain: string, key: string, name: string): ServingPair | null {
  const [certificate, ca, ...others] = certificatesOf(chain);
  if (certificate === undefined || ca === undefined || others.length > 0) return null;
  try {
    const leaf = new X509Certificate(certificate);
    const good =
      leaf.checkPrivateKey(createPrivateKey(key)) &&
      leaf.verify(new X509Certificate(ca).publicKey) &&
      leaf.checkHost(name, { subject: "never" }) !== undefined;
    return good ? { certificate, key, ca } : null;
  } catch {
    return null;
  }
}
