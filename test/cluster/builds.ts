import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { goBuild } from "./go-build.ts";
import { cacheDirectory } from "./places.ts";

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

/** Paths of the built programs, by the name they are called by. */
export type Programs = Readonly<Record<Program | KubernetesPart, string>>;

export interface BuildOptions {
  /** Lines about each program that is built, none for those found in the cache. */
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
  for (const program of wanted) await buildOne(program, options);
  return pathsOf(wanted);
}

/** The same programs where all of them are in the cache, else null; nothing is built. */
export function builtPrograms(wanted: readonly Program[]): Programs | null {
  try {
    return wanted.every((program) => existsSync(pathOf(program))) ? pathsOf(wanted) : null;
  } catch {
    // Without Go nobody can say what they would be called.
    return null;
  }
}

function pathsOf(wanted: readonly Program[]): Programs {
  const paths = wanted.flatMap((program): [string, string][] => {
    const path = pathOf(program);
    const parts = program === "kubernetes" ? PARTS : [];
    return [[program, path], ...parts.map((part): [string, string] => [part, join(dirname(path), part)])];
  });
  return Object.fromEntries(paths) as Programs;
}

async function buildOne(program: Program, options: BuildOptions): Promise<void> {
  const path = pathOf(program);
  if (existsSync(path)) return;
  const build: Build = BUILDS[program];
  await mkdir(dirname(path), { recursive: true });
  if (program === "kubernetes") await nameParts(dirname(path));
  await goBuild(
    {
      name: program,
      directory: directoryOf(build),
      package: build.package,
      flags: buildFlags(build),
      cgo: build.cgo === true,
      output: path,
    },
    options.report ?? (() => {}),
  );
}

/** Where a program is, or will be, in the cache. */
function pathOf(program: Program): string {
  const build: Build = BUILDS[program];
  return `${cacheDirectory()}/${program}-${sourceKey(directoryOf(build), buildFlags(build))}/${program}`;
}

function directoryOf(build: Build): string {
  return `${MODULES}/${build.module}`;
}

/** The binary looks at the last word of its own path: a link of that name is enough. */
async function nameParts(folder: string): Promise<void> {
  const there = new Set(await readdir(folder));
  for (const part of PARTS) if (!there.has(part)) await symlink("kubernetes", `${folder}/${part}`);
}

function buildFlags(build: Build): string[] {
  const version = build.versionOf === undefined ? "" : requiredVersion(directoryOf(build), build.versionOf);
  const [major = "", minor = ""] = version.slice(1).split(".");
  const variables = Object.entries(build.variables ?? {}).map(
    ([name, value]) => ` -X ${name}=${{ VERSION: version, MAJOR: major, MINOR: minor }[value] ?? value}`,
  );
  return [
    ...["-trimpath", "-buildvcs=false", "-pgo=off"],
    // Nobody debugs them; the compiler is a tenth quicker without.
    "-gcflags=all=-dwarf=false",
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
function requiredVersion(directory: string, module: string): string {
  const lines = readFileSync(`${directory}/go.mod`, "utf8").split("\n");
  const line = lines.find((line) =>
    line
      .replace(/^require/, "")
      .trim()
      .startsWith(`${module} v`),
  );
  const version = line?.match(/ (v\d+\.\d+\.\d+\S*)/)?.[1];
  if (version === undefined) throw new Error(`\`${directory}/go.mod\` does not require \`${module}\``);
  return version;
}

function sourceKey(directory: string, flags: readonly string[]): string {
  const hash = createHash("sha256").update(goVersion()).update(flags.join("\n"));
  for (const name of readdirSync(directory).sort()) hash.update(name).update(readFileSync(`${directory}/${name}`));
  return hash.digest("hex").slice(0, 16);
}

function goVersion(): string {
  const { status, stdout } = spawnSync("go", ["env", "GOVERSION", "GOARCH"], { encoding: "utf8" });
  if (status === 0) return stdout;
  throw new Error("the Go toolchain is missing: install Go 1.26.6 or newer to build the test cluster");
}
