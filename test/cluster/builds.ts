import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";
import { must } from "../../src/lab/process.ts";

/** One program that a Go module of `modules/` builds. */
interface Build {
  /** Folder of `modules/`. */
  readonly module: string;
  /** Package to build: `.` is the module's own. */
  readonly package: string;
  readonly tags?: string;
  readonly cgo?: boolean;
  /** Linker variables, `path/of/package.name` to value. `VERSION` stands for the version that go.mod names. */
  readonly variables?: Readonly<Record<string, string>>;
  /** The module whose version `VERSION` is. */
  readonly versionOf?: string;
}

const CONTAINERD = "github.com/containerd/containerd/v2";
const CONTAINERD_BUILD = {
  module: "containerd",
  tags: "no_btrfs,no_devmapper,no_zfs,no_tracing",
  versionOf: CONTAINERD,
  variables: { [`${CONTAINERD}/version.Version`]: "VERSION" },
};

/** What the cluster is made of. All are static but runc, whose first thread is C. */
const BUILDS = {
  etcd: { module: "etcd", package: "." },
  kubernetes: {
    module: "kubernetes",
    package: ".",
    tags: "selinux,notest,grpcnotrace",
    versionOf: "k8s.io/kubernetes",
    variables: kubernetesVersion(),
  },
  coredns: { module: "coredns", package: "." },
  containerd: { ...CONTAINERD_BUILD, package: `${CONTAINERD}/cmd/containerd` },
  "containerd-shim-runc-v2": { ...CONTAINERD_BUILD, package: `${CONTAINERD}/cmd/containerd-shim-runc-v2` },
  ctr: { ...CONTAINERD_BUILD, package: `${CONTAINERD}/cmd/ctr` },
  helm: {
    module: "helm",
    package: "helm.sh/helm/v4/cmd/helm",
    versionOf: "helm.sh/helm/v4",
    variables: { "helm.sh/helm/v4/internal/version.version": "VERSION" },
  },
  runc: { module: "runc", package: "github.com/opencontainers/runc", tags: "seccomp", cgo: true },
} as const satisfies Record<string, Build>;

export type Program = keyof typeof BUILDS;

/** A part of Kubernetes: the one binary, called by this name. */
export type KubernetesPart =
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kube-proxy"
  | "kubelet"
  | "kubectl";

const PARTS: readonly KubernetesPart[] = [
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kube-proxy",
  "kubelet",
  "kubectl",
];

const MODULES = fileURLToPath(new URL("./modules", import.meta.url));
/** A cold build of the largest, on two cores at the lowest priority, takes a quarter of an hour. */
const BUILD_MS = 45 * 60_000;

/** Paths of the built programs, by the name they are called by. */
export type Programs = Readonly<Record<Program | KubernetesPart, string>>;

export interface BuildOptions {
  /** One line for each program that is built, none for those found in the cache. */
  readonly report?: (line: string) => void;
}

/**
 * Builds what the cache lacks. A program is kept under the hash of all that it is made from, so a second call is a
 * look-up. @throws Error one line for the user
 */
export async function buildPrograms(
  wanted: readonly Program[] = Object.keys(BUILDS) as Program[],
  options: BuildOptions = {},
): Promise<Programs> {
  const paths: Partial<Record<Program | KubernetesPart, string>> = {};
  for (const program of wanted) {
    const path = await buildOne(program, options);
    paths[program] = path;
    if (program === "kubernetes") for (const part of PARTS) paths[part] = path.replace(/kubernetes$/, part);
  }
  return paths as Programs;
}

async function buildOne(program: Program, options: BuildOptions): Promise<string> {
  const build: Build = BUILDS[program];
  const directory = `${MODULES}/${build.module}`;
  const flags = await buildFlags(build, directory);
  const folder = `${cacheDirectory()}/${program}-${await sourceKey(directory, flags)}`;
  const path = `${folder}/${program}`;
  if (!existsSync(path)) {
    const started = performance.now();
    await mkdir(folder, { recursive: true });
    // Built beside its place and moved there: a build that is cut short leaves no program.
    await must(
      ["nice", "-n", "19", "go", "build", "-C", directory, "-p", "2", ...flags, "-o", `${path}.new`, build.package],
      {
        timeoutMs: BUILD_MS,
        env: { CGO_ENABLED: build.cgo === true ? "1" : "0", GOFLAGS: "" },
      },
    );
    if (program === "kubernetes") await nameParts(folder);
    await rename(`${path}.new`, path);
    options.report?.(`${program}: built in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  return path;
}

/** The binary looks at the last word of its own path: a link of that name is enough. */
async function nameParts(folder: string): Promise<void> {
  const there = new Set(await readdir(folder));
  for (const part of PARTS) if (!there.has(part)) await symlink("kubernetes", `${folder}/${part}`);
}

async function buildFlags(build: Build, directory: string): Promise<string[]> {
  const version = build.versionOf === undefined ? "" : await requiredVersion(directory, build.versionOf);
  const [major = "", minor = ""] = version.slice(1).split(".");
  const variables = Object.entries(build.variables ?? {}).map(
    ([name, value]) => ` -X ${name}=${{ VERSION: version, MAJOR: major, MINOR: minor }[value] ?? value}`,
  );
  return [
    ...["-trimpath", "-buildvcs=false"],
    ...(build.tags === undefined ? [] : ["-tags", build.tags]),
    ...["-ldflags", `-s -w${variables.join("")}`],
  ];
}

function kubernetesVersion(): Record<string, string> {
  const values = {
    gitVersion: "VERSION",
    gitMajor: "MAJOR",
    gitMinor: "MINOR",
    gitTreeState: "archive",
    buildDate: "1970-01-01T00:00:00Z",
  };
  const packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
  return Object.fromEntries(
    packages.flatMap((name) => Object.entries(values).map(([key, value]) => [`${name}.${key}`, value])),
  );
}

/** The version of a module that a go.mod requires. */
async function requiredVersion(directory: string, module: string): Promise<string> {
  const text = await readFile(`${directory}/go.mod`, "utf8");
  const line = text.split("\n").find((line) =>
    line
      .replace(/^require/, "")
      .trim()
      .startsWith(`${module} v`),
  );
  const version = line?.match(/ (v\d+\.\d+\.\d+\S*)/)?.[1];
  if (version === undefined) throw new Error(`\`${directory}/go.mod\` does not require \`${module}\``);
  return version;
}

async function sourceKey(directory: string, flags: readonly string[]): Promise<string> {
  const hash = createHash("sha256")
    .update(await goVersion())
    .update(flags.join("\n"));
  for (const name of (await readdir(directory)).sort())
    hash.update(name).update(await readFile(`${directory}/${name}`));
  return hash.digest("hex").slice(0, 16);
}

async function goVersion(): Promise<string> {
  return must(["go", "env", "GOVERSION", "GOARCH"]).catch(() => {
    throw new Error("the Go toolchain is missing: install Go 1.26.6 or newer to build the test cluster");
  });
}

/** Outside any git tree, so that a fresh clone finds what an earlier one built. */
export function cacheDirectory(): string {
  return `${process.env.XDG_CACHE_HOME ?? `${homedir()}/.cache`}/sallyport/cluster`;
}
