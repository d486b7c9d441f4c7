import { mkdir } from "node:fs/promises";
import { must, together } from "./process.ts";
import { outsideZones } from "./zones.ts";

/** The CA bundle that the lab's clients trust, and no other. */
export function caBundle(directory: string): string {
  return `${directory}/tls/ca.pem`;
}

export function certificate(directory: string, zone: string): { readonly pem: string; readonly key: string } {
  return { pem: `${directory}/tls/${zone}.pem`, key: `${directory}/tls/${zone}.key` };
}

/** The certificate of servers asked for a name that is not theirs. */
export const DEFAULT_ZONE = "default.invalid";
/** The certificate of the inside server. */
export const INSIDE_ZONE = "inside-ns.svc.cluster.local";

/** Makes the lab's CA and one certificate a zone (the zone itself and every name one label below it). */
export async function makeCertificates(directory: string): Promise<void> {
  await mkdir(`${directory}/tls`, { recursive: true, mode: 0o755 });
  const ca = { pem: caBundle(directory), key: `${directory}/tls/ca.key` };
  const request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const common = ["-days", "30", "-sha256"];
  await must([
    ...request,
    ...common,
    ...["-keyout", ca.key, "-out", ca.pem, "-subj", "/CN=Sallyport lab CA"],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
  const zones = [...outsideZones().filter((zone) => zone !== "."), DEFAULT_ZONE, INSIDE_ZONE];
  await together(
    zones.map((zone) => {
      const { pem, key } = certificate(directory, zone);
      return must([
        ...request,
        ...common,
        ...["-CA", ca.pem, "-CAkey", ca.key, "-keyout", key, "-out", pem, "-subj", `/CN=${zone}`],
        ...["-addext", `subjectAltName=DNS:${zone},DNS:*.${zone}`],
        ...["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"],
      ]);
    }),
  );
}
