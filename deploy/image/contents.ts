import { execFileSync } from "node:child_process";
import { readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** One file of the image: where it is on this machine, and its absolute path in the image. */
export interface ImageFile {
  readonly from: string;
  readonly to: string;
}

/** A symbolic link of the image. */
export interface ImageLink {
  readonly path: string;
  readonly target: string;
}

export interface ImageContents {
  readonly files: readonly ImageFile[];
  readonly links: readonly ImageLink[];
}

/** The programs of Debian that the agent runs, and the names the image gives them. */
const PROGRAMS: readonly { readonly program: string; readonly links: readonly string[] }[] = [
  { program: "nft", links: [] },
  {
    program: "xtables-nft-multi",
    links: ["iptables-nft", "ip6tables-nft", "iptables-nft-restore", "ip6tables-nft-restore"],
  },
];
/** What makes the bundle run. */
const APP = "/opt/sallyport";

/**
 * All that the image holds: Node, the bundle, koffi's binary for glibc, nft and iptables-nft with their libraries. No shell, no
 * package manager, no source, no development package.
 *
 * @param root the repository, with `dist/` built and node_modules installed
 * @throws Error in words when a program or a package is missing
 */
export function imageContents(root: string): ImageContents {
  const files: ImageFile[] = [{ from: nodeBinary(root), to: "/usr/local/bin/node" }];
  const links: ImageLink[] = [
    { path: "/usr/local/bin/sallyport", target: `../../..${APP}/bin/sallyport` },
    { path: "/bin", target: "usr/bin" },
    { path: "/sbin", target: "usr/sbin" },
    { path: "/lib", target: "usr/lib" },
    { path: "/lib64", target: "usr/lib64" },
  ];
  for (const { program, links: names } of PROGRAMS) {
    files.push({ from: whereIs(program), to: `/usr/sbin/${program}` });
    for (const name of names) links.push({ path: `/usr/sbin/${name}`, target: program });
  }
  // All matches and targets: the fallback without nft `queue` lists the tables of others too, whatever is in them.
  const modules = xtablesFolder();
  files.push(...filesUnder(modules, underUsr(modules)));
  files.push(...librariesOf(files.map(({ from }) => from)));
  files.push(...appFiles(root));
  return { files, links };
}

function appFiles(root: string): ImageFile[] {
  const native = `@koromix/koffi-linux-${process.arch}`;
  return [
    ...filesUnder(join(root, "dist"), `${APP}/dist`).filter(
      ({ to }) => !to.endsWith(".map") && !to.includes("/.compile-cache/"),
    ),
    { from: join(root, "deploy/image/sallyport"), to: `${APP}/bin/sallyport` },
    { from: join(root, "package.json"), to: `${APP}/package.json` },
    ...filesUnder(join(root, "node_modules/koffi"), `${APP}/node_modules/koffi`).filter(({ to }) =>
      /\/koffi\/(?:package\.json|LICENSE\.txt|(?:src\/.*|[^/]+)\.c?js)$/.test(to),
    ),
    ...filesUnder(join(root, "node_modules", native), `${APP}/node_modules/${native}`).filter(
      ({ to }) => !to.includes("/musl_"),
    ),
  ];
}

function filesUnder(folder: string, to: string): ImageFile[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter(isFile)
    .sort()
    .map((from) => ({ from, to: to + from.slice(folder.length) }));
}

/** The shared libraries that the files want, with the loader, under the names they are asked for by. */
function librariesOf(binaries: readonly string[]): ImageFile[] {
  const found = new Map<string, string>();
  for (const binary of binaries) {
    for (const line of execFileSync("ldd", [binary], { encoding: "utf8" }).split("\n")) {
      if (/=> not found/.test(line)) throw new Error(`\`${binary}\` wants a library that is not here:${line}`);
      const path = /(\/\S+) \(0x/.exec(line)?.[1];
      if (path !== undefined) found.set(basename(path), path);
    }
  }
  return [...found.values()].sort().map((path) => ({ from: realpathSync(path), to: underUsr(path) }));
}

/** Debian's `/lib` is a link to `/usr/lib`, on this machine and in the image. */
function underUsr(path: string): string {
  return path.startsWith("/usr/") ? path : `/usr${path}`;
}

function nodeBinary(root: string): string {
  const link = join(root, "node_modules/.bin/node");
  try {
    readlinkSync(link);
  } catch {
    throw new Error("no pinned Node in node_modules: run `make setup`");
  }
  return realpathSync(link);
}

function whereIs(program: string): string {
  for (const folder of ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"]) {
    if (isFile(join(folder, program))) return realpathSync(join(folder, program));
  }
  throw new Error(`\`${program}\` is not installed: run \`make setup\``);
}

function xtablesFolder(): string {
  const folders = readdirSync("/usr/lib", { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join("/usr/lib", name, "xtables"));
  const folder = ["/usr/lib/xtables", ...folders].find((path) => isFile(join(path, "libxt_NFQUEUE.so")));
  if (folder === undefined) throw new Error("`libxt_NFQUEUE.so` is not installed: run `make setup`");
  return folder;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
