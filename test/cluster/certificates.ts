import { mkdir, readFile, writeFile } from "node:fs/promises";
import { must, together } from "../../src/lab/process.ts";

/** Who a certificate is for. `names` are subject alternative names as openssl writes them: `DNS:a`, `IP:b`. */
interface Identity {
  readonly commonName: string;
  readonly organization?: string;
  readonly names?: readonly string[];
  readonly usage: "clientAuth" | "serverAuth";
  readonly authority?: "ca" | "front-proxy-ca";
}

/** Files of a cluster's public key infrastructure: `pem("admin")` is `…/tls/admin.pem`. */
export interface Certificates {
  pem(name: string): string;
  key(name: string): string;
}

export interface CertificateOptions {
  /** Addresses that the API server is reached at, besides loopback. */
  readonly apiServerAddresses: readonly string[];
  /** Node names and addresses; none for a bare API server. */
  readonly nodes?: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

const P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-days", "30"];

/** Makes both authorities, every component's certificate and the service account key, in a new folder. */
export async function makeCertificates(directory: string, options: CertificateOptions): Promise<Certificates> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const files: Certificates = {
    pem: (name) => `${directory}/${name}.pem`,
    key: (name) => `${directory}/${name}.key`,
  };
  await together([...["ca", "front-proxy-ca"].map((name) => authority(files, name)), serviceAccountKey(files)]);
  await together(Object.entries(identities(options)).map(([name, identity]) => issue(files, name, identity)));
  return files;
}

function identities(options: CertificateOptions): Record<string, Identity> {
  const local = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
  const names = [...local, "kubernetes.default.svc.cluster.local"].map((name) => `DNS:${name}`);
  const addresses = ["127.0.0.1", "::1", ...options.apiServerAddresses].map((address) => `IP:${address}`);
  const client = (commonName: string, organization?: string): Identity =>
    organization === undefined
      ? { commonName, usage: "clientAuth" }
      : { commonName, organization, usage: "clientAuth" };
  const nodes = (options.nodes ?? []).flatMap(({ name, addresses }): [string, Identity][] => [
    [`kubelet-${name}`, client(`system:node:${name}`, "system:nodes")],
    [
      `kubelet-${name}-server`,
      { commonName: name, usage: "serverAuth", names: [`DNS:${name}`, ...addresses.map((address) => `IP:${address}`)] },
    ],
  ]);
  return {
    apiserver: { commonName: "kube-apiserver", usage: "serverAuth", names: [...names, ...addresses] },
    "apiserver-kubelet": client("kube-apiserver-kubelet-client", "system:masters"),
    "front-proxy": { ...client("front-proxy-client"), authority: "front-proxy-ca" },
    admin: client("admin", "system:masters"),
    "controller-manager": client("system:kube-controller-manager"),
    scheduler: client("system:kube-scheduler"),
    proxy: client("system:kube-proxy"),
    ...Object.fromEntries(nodes),
  };
}

async function authority(files: Certificates, name: string): Promise<void> {
  await must([
    ...["openssl", "req", "-x509", ...P256, "-subj", `/CN=sallyport-test-${name}`],
    ...["-keyout", files.key(name), "-out", files.pem(name), "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
}

async function issue(files: Certificates, name: string, identity: Identity): Promise<void> {
  const { commonName, organization, names, usage, authority = "ca" } = identity;
  const subject = `${organization === undefined ? "" : `/O=${organization}`}/CN=${commonName}`;
  await must([
    ...["openssl", "req", "-x509", ...P256, "-CA", files.pem(authority), "-CAkey", files.key(authority)],
    ...["-keyout", files.key(name), "-out", files.pem(name), "-subj", subject],
    ...["-addext", "basicConstraints=critical,CA:FALSE", "-addext", `extendedKeyUsage=${usage}`],
    ...(names === undefined ? [] : ["-addext", `subjectAltName=${names.join(",")}`]),
  ]);
}

/** The key pair that signs and proves service account tokens. */
async function serviceAccountKey(files: Certificates): Promise<void> {
  const key = files.key("service-account");
  await must(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  await must(["openssl", "pkey", "-in", key, "-pubout", "-out", files.pem("service-account")]);
}

/** Writes a kubeconfig that stands alone: certificates are inside. */
export async function writeKubeconfig(path: string, server: string, files: Certificates, user: string): Promise<void> {
  const data = async (file: string) => (await readFile(file)).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [{ name: "test", cluster: { server, "certificate-authority-data": await data(files.pem("ca")) } }],
    users: [
      {
        name: user,
        user: {
          "client-certificate-data": await data(files.pem(user)),
          "client-key-data": await data(files.key(user)),
        },
      },
    ],
    contexts: [{ name: "test", context: { cluster: "test", user } }],
  };
  await writeFile(path, `${JSON.stringify(config, null, 1)}\n`, { mode: 0o600 });
}
